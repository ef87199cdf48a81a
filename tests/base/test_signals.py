"""Signals to real processes: effect, speed and exit status."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.making import speechlike, write_wav

pytestmark = pytest.mark.timed

if sys.platform == "win32":
    pytest.skip("POSIX signals", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
Line = dict[str, Any]
PATIENCE = 60.0
"""A busy machine takes long to start a process."""


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What `condition` gives, once that is true."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


class Running:
    """A replay without a terminal, at its own pace, as a process."""

    def __init__(self, folder: Path, model: Path, *more: str, speed: str = "1") -> None:
        self.out = folder / "out.jsonl"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "daemon", "replay", "long.wav", "--speed", speed),
                *("--headless", "--model", str(model), *more),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "INTENTD_MODEL__THREADS": "1"},
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def send(self, number: int) -> float:
        self.process.send_signal(number)
        return time.monotonic()

    def lines(self, path: Path | None = None) -> list[Line]:
        """The whole lines so far."""
        path = path or self.out
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]

    def hear(self, part: str, after: int = 0) -> str:
        """A line on stderr that holds `part`, from number `after` on."""
        line: str = until(
            lambda: next((line for line in self.said[after:] if part in line), None),
            f"{part!r} on stderr, which has {self.said}",
        )
        return line

    def grow(self, path: Path | None = None) -> None:
        """Wait until another line is written."""
        before = len(self.lines(path))
        until(lambda: len(self.lines(path)) > before, f"more lines in {path or self.out}")

    def ignores(self, number: int) -> bool:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
        return False

    def end(self, timeout: float = 20.0) -> int:
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two minutes of sound, and no settings but ours."""
    for name in [name for name in os.environ if name.startswith("INTENTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    write_wav(tmp_path / "long.wav", speechlike(120.0, seed=5))
    return tmp_path


@pytest.fixture
def start(folder: Path, plain_model: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*more: str, **options: str) -> Running:
        running.append(Running(folder, plain_model, *more, **options))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()


SETTINGS = """[gate]
kind = "energy"
[window]
hop = {hop}
[events]
threshold = {threshold}
refractory = 0.0
[output]
jsonl = "{jsonl}"
lag_warning = {lag}
"""


def settings(
    folder: Path, *, threshold: float, hop: float = 0.24, jsonl: str = "out.jsonl", lag: float = 0.5
) -> None:
    draft = folder / "draft.toml"
    draft.write_text(SETTINGS.format(threshold=threshold, hop=hop, jsonl=jsonl, lag=lag))
    draft.replace(folder / "my.toml")


def test_a_daemon_reloads_rotates_and_reports(  # noqa: PLR0915 - one day, told in order
    folder: Path, start: Callable[..., Running]
) -> None:
    """SIGUSR1, SIGHUP with good and bad settings, a rotation and SIGTERM.

    One process gets them all.
    """
    settings(folder, threshold=1.0)
    daemon = start("--config", "my.toml")

    # Before the run has begun, neither signal ends the process.
    until(lambda: daemon.ignores(signal.SIGUSR1) and daemon.ignores(signal.SIGHUP), "SIG_IGN")
    daemon.send(signal.SIGUSR1)
    daemon.send(signal.SIGHUP)
    daemon.grow()

    daemon.send(signal.SIGUSR1)
    told = daemon.hear("1 of 1 streams going")
    assert told.startswith("intentd: up ") and "windows" in told

    # A threshold of 1 is never reached; 0.3 is at once.
    assert not [line for line in daemon.lines() if line["type"] == "event"]
    settings(folder, threshold=0.3)
    daemon.send(signal.SIGHUP)
    assert daemon.hear("settings reloaded") == (
        "intentd: settings reloaded: events.threshold = 0.3"
    )
    until(lambda: [line for line in daemon.lines() if line["type"] == "event"], "an event")

    # What is wrong is refused, with the reason, and nothing changes.
    for text, part in (
        ("[events]\nthreshold = 7\n", "events.threshold is 7; it must be 0 to 1"),
        ("[events\n", "is not valid TOML"),
        ("[window]\nhop = 2.0\n", "window.hop is 2.0"),
        ("[events.thresholds]\nnowhere = 0.5\n", "which is no label of the model"),
        ("[output]\njsonl = 'missing/folder/x.jsonl'\n", "missing/folder/x.jsonl"),
    ):
        (folder / "my.toml").write_text(text)
        before = len(daemon.said)
        daemon.send(signal.SIGHUP)
        line = daemon.hear("the old settings stay", before)
        assert part in line and line.startswith("intentd: error: ")
    (folder / "my.toml").unlink()
    before = len(daemon.said)
    daemon.send(signal.SIGHUP)
    assert "my.toml" in daemon.hear("the old settings stay", before)
    daemon.grow()

    # logrotate: moved away, SIGHUP, and the next line goes to a new file of the old name.
    settings(folder, threshold=0.3)
    old = folder / "out.jsonl.1"
    (folder / "out.jsonl").rename(old)
    before = len(daemon.said)
    daemon.grow(old)  # until then it goes on where it was
    daemon.send(signal.SIGHUP)
    assert daemon.hear("settings reloaded", before).endswith("nothing has changed")
    daemon.grow()

    # Another hop and another file; what can't change while it runs is named.
    settings(folder, threshold=0.3, hop=0.5, jsonl="other.jsonl", lag=2.0)
    with (folder / "my.toml").open("a") as file:
        file.write("[audio]\nblock_ms = 40.0\n")
    other = folder / "other.jsonl"
    before = len(daemon.said)
    daemon.send(signal.SIGHUP)
    line = daemon.hear("settings reloaded", before)
    for key in ("window.hop = 0.5", "output.jsonl = 'other.jsonl'", "output.lag_warning = 2.0"):
        assert key in line
    assert "audio.block_ms will change at the next start" in daemon.hear("next start", before)
    until(lambda: len(predictions(daemon.lines(other))) >= 6, "windows in the other file")

    # What changes nothing is not announced as a change.
    settings(folder, threshold=0.9, hop=0.5, jsonl="other.jsonl", lag=2.0)
    with (folder / "my.toml").open("a") as file:
        file.write("[events.thresholds]\nup = 0.3\ndown = 0.3\ngo = 0.3\nbackground = 0.3\n")
    before = len(daemon.said)
    daemon.send(signal.SIGHUP)
    line = daemon.hear("settings reloaded", before)
    assert "events.thresholds = " in line and "events.threshold = " not in line
    assert "events.threshold, which changes" in daemon.hear("changes nothing", before)

    sent = daemon.send(signal.SIGTERM)
    assert daemon.end() == 0
    assert time.monotonic() - sent < 2.5
    assert not [line for line in daemon.said if "Traceback" in line]

    # Not a line was lost or torn on the way, and the sound went on without a gap.
    files = [old, folder / "out.jsonl", other]
    assert all(path.read_text().endswith("\n") for path in files)
    lines = [line for path in files for line in daemon.lines(path)]
    windows = predictions(lines)
    summary = lines[-1]
    assert summary["type"] == "summary" and summary["windows"] == len(windows)
    assert summary["events"] == sum(line["type"] == "event" for line in lines)
    assert summary["samples_lost"] == 0 and not [x for x in lines if x["type"] == "gap"]
    assert summary["samples_captured"] == (summary["samples_classified"] + summary["samples_gated"])
    steps = [round(b["start"] - a["start"], 3) for a, b in pairwise(windows)]
    change = steps.index(0.5)
    assert set(steps[: change - 1]) == {0.24} and set(steps[change:]) == {0.5}
    assert 0 < steps[change - 1] <= 0.24  # the new grid begins where the old sound ended


def predictions(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["type"] == "prediction"]


def test_kill_9_leaves_whole_lines(folder: Path, start: Callable[..., Running]) -> None:
    daemon = start("--jsonl", "out.jsonl", speed="max")
    until(lambda: daemon.out.exists() and daemon.out.stat().st_size > 20_000, "20 kB of lines")
    daemon.send(signal.SIGKILL)
    assert daemon.end() == -signal.SIGKILL
    text = daemon.out.read_text()
    assert text.endswith("\n")
    starts = [json.loads(line)["start"] for line in text.splitlines() if "prediction" in line]
    assert starts == sorted(starts) and len(starts) > 20


def test_an_end_comes_in_time(folder: Path, start: Callable[..., Running]) -> None:
    """SIGINT once and twice, and SIGTERM; the processes start side by side."""
    cases = [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGINT,), 130), ((signal.SIGTERM,), 0)]
    daemons = [start("--jsonl", f"{number}.jsonl") for number in range(len(cases))]
    for number, (daemon, (signals, status)) in enumerate(zip(daemons, cases, strict=True)):
        out = folder / f"{number}.jsonl"
        daemon.grow(out)
        begun = time.monotonic()
        for one in signals:
            daemon.send(one)
            time.sleep(0.02)
        assert daemon.end() == status
        assert time.monotonic() - begun < 2.5
        if len(signals) == 1:
            assert daemon.said == [] and daemon.lines(out)[-1]["type"] == "summary"


def test_a_program_whose_terminal_closes_ends(folder: Path, plain_model: Path) -> None:
    """With a terminal SIGHUP means that it has closed.

    The summaries are written, and the run ends.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        arguments = (
            *(sys.executable, "-m", "daemon", "replay", "long.wav", "--speed", "1", "--headless"),
            *("--jsonl", "out.jsonl", "--model", str(plain_model)),
        )
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "INTENTD_MODEL__THREADS": "1"}
        os.execve(sys.executable, arguments, environ)
    out = folder / "out.jsonl"
    try:
        until(lambda: out.exists() and out.stat().st_size, "a line")
    finally:
        os.close(terminal)
    begun = time.monotonic()
    ended, status = until(
        lambda: (got := os.waitpid(pid, os.WNOHANG))[0] and got, "its end", timeout=20
    )
    assert time.monotonic() - begun < 2.5
    assert ended == pid and os.waitstatus_to_exitcode(status) == 0
    assert json.loads(out.read_text().splitlines()[-1])["type"] == "summary"
