"""Watches a case from inside its process.

No code run, nothing written elsewhere, little memory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODE = frozenset(
    {
        "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
        "subprocess.Popen", "pickle.find_class", "socket.connect", "socket.getaddrinfo",
    }
)  # fmt: skip
_HARMLESS = ("/dev/null", "/dev/urandom", "/proc/self/")


class Guard:
    """While entered, notes every forbidden act; `acts` is what was noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._active = False
        self.acts: list[str] = []
        sys.addaudithook(self._hook)  # hooks can't be removed again, so there is one a process

    def enter(self) -> None:
        self.acts = []
        self._active = True

    def leave(self) -> list[str]:
        self._active = False
        return self.acts

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event in _CODE:
            self.acts.append(f"{event}{arguments[:2]!r}"[:200])
        elif (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        ) or event in {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link"}:
            self._opened(arguments[1] if event in {"os.symlink", "os.link"} else arguments[0])

    def _opened(self, path: Any) -> None:
        if isinstance(path, int):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - pathlib opens things itself
        if not name.startswith((self._folder, *_HARMLESS)):
            self.acts.append(f"wrote to {name!r}")


def resident() -> int:
    """Bytes of memory that this process has now."""
    return _field("VmRSS:")


def reset_peak() -> None:
    """Begin to measure `peak` anew (proc(5), clear_refs)."""
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")


def peak() -> int:
    """The most bytes of memory since `reset_peak`."""
    return _field("VmHWM:")


def _field(name: str) -> int:
    with open("/proc/self/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
