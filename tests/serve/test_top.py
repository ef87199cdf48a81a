"""`intentd top` on a terminal beside `intentd serve`: it only looks."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.making import speechlike
from support.served import PATIENCE, Served, detections, events_of, send_now

from daemon.cli import run

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal"),
]


class Top:
    """`intentd top` in a terminal of its own."""

    def __init__(self, served: Served) -> None:
        self._terminal, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daemon", "top"],
            env=served.env | {"TERM": "xterm-256color", "LINES": "24", "COLUMNS": "100"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            process_group=0,
        )
        os.close(slave)
        self.seen = b""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self._terminal], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self._terminal, 65536)
        self.seen = b""

    def press(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def end(self) -> tuple[int, str]:
        """Exit status, and what it left on the screen."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self._drain()
        self._drain()
        return self.process.returncode, self.seen.rpartition(b"\x1b[?1049l")[2].decode().strip()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def _drain(self) -> None:
        while select.select([self._terminal], [], [], 0.1)[0]:
            try:
                part = os.read(self._terminal, 65536)
            except OSError:  # the other end has closed
                return
            if not part:
                return
            self.seen += part


@contextlib.contextmanager
def watching(served: Served) -> Iterator[Top]:
    top = Top(served)
    try:
        yield top
    finally:
        top.close()


def test_it_draws_and_only_looks(word_model: Path, tmp_path: Path) -> None:
    with Served(tmp_path, "tcp://127.0.0.1:0", "--model", str(word_model)) as served:
        with watching(served) as one, watching(served) as other:
            for top in (one, other):
                top.wait_for("waiting for clients")
            answers = send_now(served.address, events_of(speechlike(6.0, seed=3), 16000))
            (summary,) = served.wait_for_lines("summary", 1)
            name, _ = detections(answers)[0]
            for top in (one, other):
                top.wait_for(str(name))
                top.press(b" ")
            one.press(b"q")
            assert one.end() == (0, "")
            assert served.process.poll() is None and served.status()["paused"] is False
            assert summary["samples_lost"] == 0
            served.send_signal(signal.SIGTERM)
            status, said = other.end()
            assert status == 0 and said.endswith(f"process {served.process.pid} has ended")
        assert served.wait() == 0


def test_without_a_terminal_or_a_daemon_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["top"]) == 2
    assert "intentd status" in capsys.readouterr().err
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("daemon.commands.top.dashboard_possible", lambda: True)
    assert run(["top"]) == 2
    assert "no intentd runs for this user; intentd live starts one" in capsys.readouterr().err
