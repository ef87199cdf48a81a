"""A terminal turned into a screen for frames, and back.

Rows that did not change are not written again: nothing flickers, and a slow line carries little.
Rich's Live would send the whole picture each time.
"""

from __future__ import annotations

import contextlib
import os
from typing import Self

from rich.color import ColorSystem
from rich.console import Console

from daemon.base.descriptor import write_whole
from daemon.output.dashboard.canvas import Frame, Row

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The alternate screen, no cursor, no wrapping (a character that is wider in the terminal than
here must not push a row onto the next), cleared."""
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}


class Screen:
    """Paints frames on a terminal while entered. Not for more than one thread."""

    def __init__(self, console: Console, fd: int) -> None:
        self._fd = fd
        self._encoding = console.encoding
        # Without colours the theme has none; bold and the like remain.
        self._system = _SYSTEMS.get(console.color_system or "", ColorSystem.STANDARD)
        self._rows: list[Row] = []
        self._size = (0, 0)

    def __enter__(self) -> Self:
        self._rows = []
        self._write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        # A terminal that has gone cannot be given back.
        with contextlib.suppress(OSError):
            self._write(LEAVE)

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal now."""
        try:
            size = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        # A terminal whose size was never set says 0 x 0.
        return size.columns or 80, size.lines or 24

    def paint(self, frame: Frame) -> None:
        """Write the rows that have changed.

        Raises:
            OSError: the terminal is gone.
        """
        out: list[str] = []
        if self._size != (frame.width, frame.height):
            out.append("\x1b[0m\x1b[2J")
            self._rows = []
            self._size = (frame.width, frame.height)
        for index, row in enumerate(frame.rows):
            if index >= len(self._rows) or self._rows[index] != row:
                out.append(f"\x1b[{index + 1};1H{self._ansi(row)}")
        self._rows = frame.rows
        if out:
            self._write("".join(out))

    def _ansi(self, row: Row) -> str:
        return "".join(
            style.render(text, color_system=self._system) if style else text
            for text, style, _ in row
        )

    def _write(self, text: str) -> None:
        write_whole(self._fd, text.encode(self._encoding, "replace"))
