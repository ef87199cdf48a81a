"""`intentd replay` on a terminal, with its dashboard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.replaying import ROOT, command, lines_of

pytestmark = pytest.mark.waits


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX terminal")
@pytest.mark.timed
def test_on_a_terminal_the_dashboard_pauses_and_quits(word_model: Path, tmp_path: Path) -> None:
    """On a pseudo terminal: space pauses, q ends with 0 and a summary.

    The terminal is as it was afterwards.
    """
    import pty
    import select
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        command(
            *("replay", "b.wav", "c.wav", "--speed", "1", "--model", str(word_model)),
            *("--jsonl", str(out), "--set", f"output.log={tmp_path / 'intentd.log'}"),
        ),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
    ) as child:
        seen = b""

        def read(seconds: float, until: bytes | None = None) -> None:
            nonlocal seen
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and not (until and until in seen):
                if select.select([master], [], [], left)[0]:
                    seen += os.read(master, 65536)

        read(60, b"\x1b[?1049h")
        assert b"\x1b[?1049h" in seen
        read(1.2)
        os.write(master, b" ")
        read(0.6)
        held = out.read_bytes()
        read(1.5)
        assert out.read_bytes() == held != b""
        os.write(master, b" ")
        read(1.0)
        assert len(out.read_bytes()) > len(held)
        os.write(master, b"q")
        begun = time.monotonic()
        read(10, b"c.wav: ")
        assert child.wait(10) == 0
        assert time.monotonic() - begun < 2.0
        read(0.2)
    assert termios.tcgetattr(slave) == before
    after = seen.rpartition(b"\x1b[?1049l")[2].decode()
    assert "b.wav: " in after and "samples captured" in after and "Traceback" not in after
    summaries = [line for line in lines_of(out.read_text()) if line["type"] == "summary"]
    assert len(summaries) == 2
    os.close(master)
    os.close(slave)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX terminal")
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        # The log that is not asked for lies in the user's folder, which can't be written here.
        ([], 1, "intentd: error: cut.wav ends before its time"),
        (["output.log=cut.wav/x.log"], 2, "intentd: output.log is cut.wav/x.log, which can't be"),
    ],
)
def test_what_went_wrong_is_reported_when_the_dashboard_has_gone(
    word_model: Path, options: list[str], status: int, said: str
) -> None:
    import pty

    master, slave = pty.openpty()
    more = [part for option in options for part in ("--set", option)]
    with subprocess.Popen(
        command("replay", "cut.wav", "--speed", "max", "--model", str(word_model), *more),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={
            **os.environ,
            **{"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "XDG_STATE_HOME": os.devnull},
        },
    ) as child:
        os.close(slave)
        seen = b""
        with contextlib.suppress(OSError):  # EIO is how a terminal ends
            while block := os.read(master, 65536):
                seen += block
        assert child.wait(10) == status
    assert said in seen.rpartition(b"\x1b[?1049l")[2].decode()
    os.close(master)
