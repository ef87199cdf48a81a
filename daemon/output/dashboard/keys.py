"""Single keys from the terminal, without Enter and without echo."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self

KEYS = {
    b" ": "space",
    b"q": "q",
    b"Q": "q",
    b"\x03": "q",  # Ctrl-C where the terminal makes no signal of it
    b"k": "up",
    b"j": "down",
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}


def decode(data: bytes, names: Mapping[bytes, str] = KEYS) -> list[str]:
    """Names of the keys in a terminal's input.

    Keys that are not in `names` are skipped, escape sequences as a whole.
    """
    keys: list[str] = []
    at = 0
    while at < len(data):
        end = _sequence_end(data, at)
        key = names.get(data[at:end])
        if key is not None:
            keys.append(key)
        at = end
    return keys


def _sequence_end(data: bytes, at: int) -> int:
    """End of the character or escape sequence (ECMA-48) that begins at `at`."""
    if data[at : at + 1] != b"\x1b":
        return at + 1
    if data[at + 1 : at + 2] == b"[":
        end = at + 2
        while end < len(data) and not 0x40 <= data[end] <= 0x7E:
            end += 1
        return end + 1
    return at + 3 if data[at + 1 : at + 2] == b"O" else at + 1


class Keyboard(Protocol):
    """Context manager that reads keys one by one and restores the terminal."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, seconds: float) -> list[str]:
        """Wait at most `seconds` for keys; return at once when there are any.

        Raises:
            EOFError: the terminal has gone.
        """
        ...


class PosixKeyboard:
    """Keys of a terminal in cbreak mode, where Ctrl-C and Ctrl-Z stay signals."""

    def __init__(self, fd: int, names: Mapping[bytes, str] = KEYS) -> None:
        self._fd, self._names = fd, names
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        import termios

        self._before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        # Ctrl-S would freeze the screen and, with it, whoever draws on it.
        mode[0] &= ~termios.IXON
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        before, self._before = self._before, None
        if before is not None:
            # A terminal that has gone cannot be given back.
            with contextlib.suppress(termios.error, OSError):
                termios.tcflush(self._fd, termios.TCIFLUSH)
                termios.tcsetattr(self._fd, termios.TCSANOW, before)

    def wait(self, seconds: float) -> list[str]:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, seconds))
        if not ready:
            return []
        try:
            data = os.read(self._fd, 1024)
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return decode(data, self._names)


WINDOWS_KEYS = {b"H": "up", b"P": "down", b"I": "page up", b"Q": "page down"}
"""What follows the null byte that announces a special key."""


class WindowsKeyboard:
    """Keys from the console; Ctrl-C stays a signal."""

    def __init__(self, names: Mapping[bytes, str] = KEYS) -> None:
        self._names = names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def wait(self, seconds: float) -> list[str]:
        import msvcrt

        # By name, since the module has these functions on Windows only.
        pressed: Callable[[], bool] = getattr(msvcrt, "kbhit")  # noqa: B009
        read: Callable[[], bytes] = getattr(msvcrt, "getch")  # noqa: B009
        end = time.monotonic() + seconds
        keys: list[str] = []
        while True:
            while pressed():
                character = read()
                if character in (b"\x00", b"\xe0"):
                    keys += filter(None, [WINDOWS_KEYS.get(read())])
                else:
                    keys += decode(character, self._names)
            left = end - time.monotonic()
            if keys or left <= 0:
                return keys
            time.sleep(min(0.05, left))


class NoKeyboard:
    """Standard input is no terminal and there is no other: signals still work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def wait(self, seconds: float) -> list[str]:
        time.sleep(max(0.0, seconds))
        return []


@contextlib.contextmanager
def keyboard(names: Mapping[bytes, str] = KEYS) -> Iterator[Keyboard]:
    """Open the terminal's keyboard, also if standard input is a recording.

    Args:
        names: of the keys that are wanted, by what a terminal sends for them.
    """
    if sys.platform == "win32":
        with WindowsKeyboard(names) as windows:
            yield windows
        return
    with contextlib.ExitStack() as stack:
        fd = 0
        if not os.isatty(0):
            try:
                fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
            except OSError:
                yield NoKeyboard()
                return
            stack.callback(os.close, fd)
        yield stack.enter_context(PosixKeyboard(fd, names))
