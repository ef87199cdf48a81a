"""Kills the commands that a daemon left behind; its own small process.

It is started beside the daemon.

It learns process groups from standard input, "+GROUP" when one begins and "-GROUP" when it is over.
That input ends with the daemon, however the daemon ended; what still runs then is killed. This
file is also the program, and needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


class Reaper:
    """The process, as its daemon sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )

    def began(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def ended(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Have it kill what is left, and end."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # somebody killed it: it is a second net
            self._process.stdin.write(line.encode())


def kill_group(group: int, number: int = signal.SIGTERM) -> bool:
    """Send a signal to a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # it has become another user's (sudo); there is one, beyond our reach
        return True
    return True


def main() -> None:
    groups: set[int] = set()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        kill_group(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
