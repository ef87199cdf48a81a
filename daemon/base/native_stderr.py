"""Keeps what native libraries print away from the user's terminal.

PortAudio, ALSA, JACK and libmpg123 write straight to file descriptor 2, over a full-screen
dashboard and between plain lines. And sounddevice points descriptor 2 at the null device while
PortAudio initialises, which may take seconds when a sound server is gone. What the program writes
to it in that time, such as "microphone lost", would be lost.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def discard_native_stderr() -> Iterator[None]:
    """For the whole of a program's run: descriptor 2 leads nowhere, while `sys.stderr` keeps
    writing where it did before.

    Enter it before threads start: descriptors belong to the whole process. Where there is no
    descriptor 2, nothing is changed.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):
        yield
        return
    before = sys.stderr
    own = before.fileno() == 2 if _has_descriptor(before) else False
    sink = os.open(os.devnull, os.O_WRONLY)
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


def _has_descriptor(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (OSError, AttributeError, ValueError):
        return False
    return True
