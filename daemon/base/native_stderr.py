"""Keeping what native libraries print away from the user's terminal.

PortAudio, ALSA, JACK and libmpg123 write straight to file descriptor 2, over a full-screen
dashboard and between plain lines. And sounddevice turns descriptor 2 away to nowhere while
PortAudio initialises, which may take seconds when a sound server is gone: what a program says
through it at that time, that the microphone is lost for one, nobody ever reads.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_noise_to(log: Path | None) -> Iterator[None]:
    """For the whole of a program's run: descriptor 2 appends to `log` (None: goes nowhere), while
    `sys.stderr` keeps writing where it did before.

    Enter it before threads start: descriptors belong to the whole process. A `log` that cannot
    be written is done without. Where there is no descriptor 2, nothing is changed.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):
        yield
        return
    before = sys.stderr
    own = before.fileno() == 2 if _has_descriptor(before) else False
    sink = _open(log)
    os.dup2(sink, 2)
    os.close(sink)
    if own:
        sys.stderr = open(  # noqa: SIM115 - a descriptor has no path; closed below
            kept,
            "w",
            buffering=1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # its terminal may have gone
            sys.stderr.flush()
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


def _open(log: Path | None) -> int:
    if log is not None:
        try:
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            pass
    return os.open(os.devnull, os.O_WRONLY)


def _has_descriptor(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (OSError, AttributeError, ValueError):
        return False
    return True
