"""`intentd live` as a service manager and `intentd status` see it.

The microphone is real; it freezes, comes back and is killed.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.making import make_tiny_model, speechlike, write_wav
from support.virtual_mic import VirtualMic, missing_packages

from daemon import __version__

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
WATCHDOG_SECONDS = 2.0


class Service:
    """`intentd live` under a service manager, which is this test."""

    def __init__(self, mic: VirtualMic, folder: Path, *more: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(folder / "notify"))
        self._listener.settimeout(0.2)
        self.told: queue.Queue[tuple[float, str]] = queue.Queue()
        self.env = mic.env | {
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(folder / "notify"),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "INTENTD_MODEL__THREADS": "1",
        }
        # systemd names the process whose pings it wants; the shell becomes that process.
        watchdog = f"WATCHDOG_USEC={round(WATCHDOG_SECONDS * 1e6)}"
        self.process = subprocess.Popen(
            [
                *("sh", "-c", f'export {watchdog} WATCHDOG_PID=$$; exec "$@"', "sh"),
                *(sys.executable, "-m", "daemon", "live", "--headless", *more),
            ],
            cwd=folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._hear, self._read)]
        for thread in self._threads:
            thread.start()

    def _hear(self) -> None:
        while self.process.poll() is None:
            try:
                self.told.put((time.monotonic(), self._listener.recv(4096).decode()))
            except TimeoutError:
                continue

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def wait_for(self, part: str, timeout: float = 60.0) -> float:
        """When the next datagram with `part` came."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                at, text = self.told.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {part} within {timeout} s; {self.said}") from None
            if part in text:
                return at

    def pings(self, seconds: float) -> list[float]:
        """When pings came, from now on for so long."""
        deadline = time.monotonic() + seconds
        found = []
        while time.monotonic() < deadline:
            try:
                at, text = self.told.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if text == "WATCHDOG=1" and at > deadline - seconds:
                found.append(at)
        return found

    def status(self) -> tuple[int, dict[str, Any] | None]:
        """What `intentd status --json` says and ends with."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon", "status", "--json"],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


@pytest.fixture
def mic() -> Iterator[VirtualMic]:
    with VirtualMic() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(
        tmp_path_factory.mktemp("live") / "model",
        intentd={"gate": {"kind": "energy"}, "non_intents": ["background"]},
    )


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = speechlike(60.0, 48000, seed=3)
    return write_wav(tmp_path_factory.mktemp("sound") / "speech.wav", sound, 48000)


def test_a_service_that_goes_deaf_does_not_look_alive(  # noqa: PLR0915 - one outage, in order
    mic: VirtualMic, model: Path, speech: Path, tmp_path: Path
) -> None:
    mic.play(speech)
    service = Service(mic, tmp_path, "--model", str(model), "--jsonl", "out.jsonl")
    try:
        service.wait_for("READY=1")
        service.wait_for("WATCHDOG=1", timeout=10)
        pings = service.pings(3.0)
        assert len(pings) >= 4
        assert max(np.diff(pings)) < WATCHDOG_SECONDS

        status, report = service.status()
        assert status == 0 and report is not None, (status, report, service.said)
        assert report["healthy"] and report["pid"] == service.process.pid
        (stream,) = report["streams"]
        assert stream["live"] and stream["going"] and stream["last_audio_age"] < 1.0
        assert stream["windows"] > 3 and stream["samples_lost"] == 0
        assert report["uptime"] > 2 and report["model"] == str(model)

        # The sound server stands still, and lets those who ask it wait: nothing that a restart
        # could make worse. PortAudio's stream stays "active" all the while.
        mic.freeze()
        frozen = time.monotonic()
        service.pings(4.0)  # for what was heard until then, and for a look that takes its time
        assert service.pings(4.0) == []
        status, report = service.status()
        assert status == 1 and report is not None
        assert "no sound for" in report["problems"][0]
        assert report["streams"][0]["last_audio_age"] > 2.0
        assert any("is lost" in line for line in service.said), service.said

        mic.cont()
        back = service.wait_for("WATCHDOG=1", timeout=20) - time.monotonic()
        assert back < 5.0 and time.monotonic() - frozen < 60
        deadline = time.monotonic() + 15
        while service.status()[0] != 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        status, report = service.status()
        assert status == 0 and report is not None, report
        assert report["streams"][0]["samples_lost"] > 3 * report["streams"][0]["rate"]

        # A reload is told to the manager as well.
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("RELOADING=1", timeout=5)
        service.wait_for("READY=1", timeout=5)

        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("STOPPING=1", timeout=5)
        assert service.process.wait(10) == 0
        assert time.monotonic() - begun < 2.5
    finally:
        service.close()
    assert service.status() == (2, None)
    assert not list((tmp_path / "intentd").iterdir())
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    summary = lines[-1]
    gaps = [line for line in lines if line["type"] == "gap"]
    assert summary["type"] == "summary" and gaps
    assert sum(gap["samples_lost"] for gap in gaps) == summary["samples_lost"]


def test_a_restart_is_seen_in_the_lines_and_they_tell_the_time_of_day(
    mic: VirtualMic, model: Path, speech: Path, tmp_path: Path
) -> None:
    """kill -9, and again: the second run appends, its stream time from zero."""
    mic.play(speech)
    out = tmp_path / "out.jsonl"
    more = ["--model", str(model), "--jsonl", "out.jsonl", "--set", "events.threshold=0.3"]
    more += ["--set", "output.types=start,event,prediction"]
    for end in (signal.SIGKILL, signal.SIGTERM):
        before = out.read_text().count('"type":"event"') if out.exists() else 0
        service = Service(mic, tmp_path, *more)
        try:
            deadline = time.monotonic() + 60
            while not out.exists() or out.read_text().count('"type":"event"') < before + 2:
                assert time.monotonic() < deadline, service.said
                time.sleep(0.1)
            service.process.send_signal(end)
            service.process.wait(10)
        finally:
            service.close()
            (tmp_path / "notify").unlink()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    starts = [number for number, line in enumerate(lines) if line["type"] == "start"]
    assert len(starts) == 2 and starts[0] == 0
    assert lines[starts[1] + 1]["start"] == 0.0
    start = lines[starts[1]]
    assert start == lines[0] | {"at": start["at"]}
    assert start["version"] == __version__ and start["model"] == str(model)
    assert start["stream"] == lines[-1]["stream"]
    assert start["labels"] == list(lines[starts[1] + 1]["rolling"])
    assert (start["window"], start["hop"]) == (1.0, 0.24)
    offsets = []
    for line in lines:
        if line["type"] == "start":
            begun = datetime.fromisoformat(line["at"])
        elif line["type"] == "event":
            fired = begun + timedelta(seconds=line["at_stream"])
            offsets.append((datetime.fromisoformat(line["at"]) - fired).total_seconds())
    assert len(offsets) >= 4 and max(map(abs, offsets)) < 1.0, offsets


def test_a_service_that_cannot_write_is_not_healthy(
    mic: VirtualMic, model: Path, speech: Path, tmp_path: Path
) -> None:
    mic.play(speech)
    service = Service(mic, tmp_path, "--model", str(model), "--jsonl", "/dev/full")
    try:
        service.wait_for("READY=1")
        deadline = time.monotonic() + 15
        while service.status()[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        status, report = service.status()
        assert status == 1 and report is not None
        assert report["problems"] == [
            "JSON lines to /dev/full: switched off, no space left on device"
        ]
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 1
    finally:
        service.close()
    assert re.fullmatch(
        r"intentd: JSON lines to /dev/full: \d+ messages lost, no space left on device",
        service.said[-1],
    ), service.said


def test_a_service_without_its_microphone_is_left_to_look_for_it(
    mic: VirtualMic, model: Path, speech: Path, tmp_path: Path
) -> None:
    """A restart would bring no microphone, and lose the counts.

    The microphone is away for longer than the watchdog allows.
    """
    mic.play(speech)
    service = Service(mic, tmp_path, "--model", str(model), "--jsonl", "out.jsonl")
    try:
        service.wait_for("READY=1")
        mic.kill()
        service.wait_for("STATUS=waiting for the microphone", timeout=5)
        pings = service.pings(3 * WATCHDOG_SECONDS)
        assert len(pings) >= 9 and max(np.diff(pings)) < WATCHDOG_SECONDS
        status, report = service.status()
        assert status == 1 and report is not None and "no sound for" in report["problems"][0]
        # A daemon that stands still is not looking for anything.
        service.process.send_signal(signal.SIGSTOP)
        service.pings(0.5)
        assert service.pings(WATCHDOG_SECONDS) == []
        service.process.send_signal(signal.SIGCONT)
        mic.start()
        mic.play(speech)
        service.wait_for("STATUS=up", timeout=15)
        service.wait_for("WATCHDOG=1", timeout=5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
    finally:
        service.close()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert next(line["reason"] for line in lines if line["type"] == "gap") == "device lost"
    assert lines[-1]["type"] == "summary"


def test_a_service_waits_for_its_microphone_and_says_so(
    mic: VirtualMic, model: Path, tmp_path: Path
) -> None:
    mic.kill()
    service = Service(mic, tmp_path, "--model", str(model), "--wait-for-device")
    try:
        service.wait_for("EXTEND_TIMEOUT_USEC=")
        assert service.status() == (2, None)
        mic.start()
        service.wait_for("READY=1")
        service.wait_for("WATCHDOG=1", timeout=15)
        # kill -9 leaves the socket behind, which nobody takes for a daemon.
        service.process.kill()
        service.process.wait()
        assert os.listdir(tmp_path / "intentd")  # noqa: PTH208
        assert service.status() == (2, None)
    finally:
        service.close()
