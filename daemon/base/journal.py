"""Priorities on lines for the systemd journal, where stderr leads to it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TextIO

_PRIORITY = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Priorities of syslog(3), which sd-daemon(3) puts in front of a line."""


def leads_to_journal(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` is the one that systemd connected to the journal.

    JOURNAL_STREAM names that one by device and inode (systemd.exec(5)); a stderr that was
    redirected since is another.
    """
    wanted = (os.environ if environ is None else environ).get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def journal_line(text: str, level: str) -> str:
    """`text` with its priority; the journal adds program and time."""
    return f"<{_PRIORITY.get(level, 6)}>{text}"


def complain(sentence: str, level: str = "error", program: str = "intentd") -> None:
    """Write one sentence to stderr, safe for a terminal.

    Without a stderr it is lost.
    """
    from daemon.base.text import screen_text

    text = screen_text(sentence)
    line = journal_line(text, level) if leads_to_journal(sys.stderr) else f"{program}: {text}"
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
