"""The dashboard on a pseudo terminal: painted sparingly, then restored."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pictures import feed, run_info, terminal

from daemon.output.dashboard import DashboardState
from daemon.output.dashboard.keys import decode
from daemon.output.dashboard.screen import Screen
from daemon.output.dashboard.theme import theme_for
from daemon.output.dashboard.view import frame

pytestmark = pytest.mark.waits

fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

ROOT = Path(__file__).parents[2]
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
SUPPORT = ROOT / "tests" / "support"


class Terminal:
    """A pseudo terminal with a program on it."""

    def __init__(self, tmp_path: Path, mode: str) -> None:
        self.log, self.stderr_log = tmp_path / "said", tmp_path / "logs" / "intentd.log"
        self.pid_file = tmp_path / "pid"
        self.master, self.slave = os.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        files = (str(self.log), str(self.stderr_log))
        self.child = subprocess.Popen(
            [
                *(sys.executable, str(SUPPORT / "foreground_job.py"), str(self.pid_file)),
                *(sys.executable, str(SUPPORT / "dashboard_program.py"), mode, *files),
            ],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
                "TERM": "xterm-256color",
                "COLORTERM": "",
                "LC_ALL": "C.UTF-8",
            },
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, until: bytes = b"", seconds: float = 20.0) -> bytes:
        """Output within that time, or up to `until`; `seen` begins again here."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (until and until in self.seen):
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)
        if until:
            assert until in self.seen, self.seen[-3000:]
        seen, self.seen = self.seen, b""
        return seen

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def said(self) -> list[str]:
        return self.log.read_text().split()

    def end(self) -> str:
        """Wait for the end; what is on the normal screen after it."""
        assert self.child.wait(20) is not None
        rest = self.read(seconds=0.3)
        assert termios.tcgetattr(self.slave) == self.before
        return rest.rpartition(LEFT)[2].decode()

    def kill(self) -> None:
        """Leave nothing behind, whatever came of the test."""
        if self.child.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                os.kill(self.pid, signal.SIGKILL)
            self.child.kill()
        self.child.wait(10)


@contextlib.contextmanager
def running(tmp_path: Path, mode: str) -> Iterator[Terminal]:
    screen = Terminal(tmp_path, mode)
    try:
        screen.read(ENTERED)
        screen.read(b"space")
        yield screen
    finally:
        screen.kill()
        os.close(screen.master)
        os.close(screen.slave)


def test_keys_a_new_size_and_the_end(tmp_path: Path) -> None:
    with running(tmp_path, "levels") as screen:
        assert not termios.tcgetattr(screen.slave)[3] & (termios.ICANON | termios.ECHO)
        screen.resize(100, 40)
        resized = screen.read(b"\x1b[40;1H", 5)
        assert b"\x1b[2J" in resized and b"\x1b[41;1H" not in resized
        screen.press(b" ")
        screen.read(b"paused", 5)
        screen.press(b"\x1b[A\x1b[5~x ")  # what means nothing here does nothing
        screen.read(b"listening", 5)
        screen.press(b"q")
        after = screen.end()
        assert screen.said() == ["paused", "listening", "quit"]
        assert "mic: up 0.90" in after and screen.child.returncode == 0


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    with running(tmp_path, "levels") as screen:
        screen.read(seconds=1.5)
        written = screen.read(seconds=2.0)
        rows = re.findall(rb"\x1b\[(\d+);1H", written)
        # The meter ten times a second, the clocks once; never everything, never a clearing.
        assert b"\x1b[2J" not in written
        assert 10 <= len(rows) <= 2 * 10 * 6
        screen.press(b"q")
        screen.end()


def test_a_defect_in_the_picture_is_logged_and_the_terminal_given_back(tmp_path: Path) -> None:
    with running(tmp_path, "defect") as screen:
        after = screen.end()
        assert screen.child.returncode == 1
        assert "a defect in the picture" in screen.stderr_log.read_text()
        assert "Traceback" in screen.stderr_log.read_text()
        assert str(screen.stderr_log) in after.replace("\r\n", "")


def test_what_libraries_write_goes_to_the_log(tmp_path: Path) -> None:
    with running(tmp_path, "noise") as screen:
        during = screen.read(b"is gone", 5) + screen.read(seconds=0.5)
        screen.press(b"q")
        after = screen.end()
        logged = screen.stderr_log.read_text()
        assert b"ALSA" not in during and "ALSA" not in after
        assert "ALSA lib: straight to descriptor 2\n" in logged
        assert "intentd: warning: mic: the microphone is gone\n" in logged
        assert str(screen.stderr_log) in after.replace("\r\n", "")
        assert after.count("intentd: warning: mic: the microphone is gone\r\n") == 1
        assert screen.stderr_log.stat().st_mode & 0o077 == 0


def test_warnings_reach_the_user_without_a_log_too(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()  # so that no log can lie below it
    with running(tmp_path, "noise") as screen:
        screen.read(b"is gone", 5)
        screen.press(b"q")
        assert "intentd: warning: mic: the microphone is gone\r\n" in screen.end()


def test_of_many_warnings_the_last_are_shown(tmp_path: Path) -> None:
    with running(tmp_path, "trouble") as screen:
        screen.read(b"trouble 29", 5)
        screen.press(b"q")
        lines = screen.end().split("\r\n")
        said = [line for line in lines if "trouble" in line or "earlier" in line]
        assert said == [
            "intentd: 20 earlier warnings and errors are not repeated",
            *(f"intentd: error: mic: trouble {n}" for n in range(20, 30)),
        ]


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(tmp_path: Path) -> None:
    with running(tmp_path, "levels") as screen:
        screen.press(b"\x1a")
        screen.read(LEFT, 5)
        end = time.monotonic() + 5
        state = ""
        while state != "T" and time.monotonic() < end:
            stat = Path(f"/proc/{screen.pid}/stat")
            if not stat.exists():
                pytest.skip("no /proc here")
            state = stat.read_text().rpartition(")")[2].split()[0]
            time.sleep(0.02)
        assert state == "T"
        assert termios.tcgetattr(screen.slave) == screen.before
        os.kill(screen.pid, signal.SIGCONT)
        screen.read(ENTERED, 5)
        screen.read(b"space", 5)
        screen.press(b"q")
        screen.end()
        assert screen.child.returncode == 0


def test_a_terminal_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    screen = Terminal(tmp_path, "hangup ignored")
    try:
        screen.read(ENTERED)
        screen.read(b"space")
        os.close(screen.slave)
        os.close(screen.master)
        end = time.monotonic() + 10
        while screen.said()[-1:] != ["over"] and time.monotonic() < end:
            time.sleep(0.02)
        assert set(screen.said()) == {"quit", "over"}
    finally:
        screen.kill()


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """KeyboardInterrupt, without the engine's handler, at the worst place."""
    with running(tmp_path, "levels") as screen:
        screen.press(b"\x03")
        screen.end()
        assert screen.child.returncode == 128 + signal.SIGINT


def test_keys_are_known_by_their_sequences() -> None:
    assert decode(b" q\x1b[A\x1bOB\x1b[5~\x1b[6~kj\x03") == [
        "space", "q", "up", "down", "page up", "page down", "up", "down", "q",
    ]  # fmt: skip
    # Mouse reports, function keys, pasted letters, a lone escape, a sequence cut short.
    assert decode(b"\x1b[<0;10;5M\x1b[15~abc\x1b") == []
    assert decode(b"\x1b[") == []
    assert decode("ü€".encode()) == []


def test_a_frame_like_the_last_one_costs_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    state = DashboardState(run_info("mic"), 0.0)
    now = feed(state, 5.0)
    console = terminal()
    theme = theme_for(console)
    with Screen(console, writer) as screen:
        screen.paint(frame(state, 80, 24, now, theme))
        assert os.read(reader, 1 << 20).count(b";1H") == 24
        screen.paint(frame(state, 80, 24, now, theme))
        with pytest.raises(BlockingIOError):
            os.read(reader, 1 << 20)
        state.pause(True, now)
        screen.paint(frame(state, 80, 24, now, theme))
        # The state, the keys, and the events, which moved down by one.
        assert 3 <= os.read(reader, 1 << 20).count(b";1H") < 10
    os.close(writer)
    assert os.read(reader, 1 << 20).endswith(LEFT)
    os.close(reader)
