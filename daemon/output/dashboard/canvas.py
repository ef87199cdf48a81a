"""Lines of exactly so many cells, and the frame they make."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from daemon.base.text import screen_text
from daemon.output.dashboard.theme import Theme

Row = tuple[Segment, ...]


class Line:
    """One row, built from left to right.

    Text that does not fit is cut, and the row is padded to its width at the end, so that nothing
    overflows or moves.
    """

    def __init__(self, theme: Theme, width: int) -> None:
        self.theme = theme
        self.width = max(0, width)
        self.used = 0
        self._segments: list[Segment] = []

    @property
    def left(self) -> int:
        """Cells that are still free."""
        return self.width - self.used

    def raw(self, text: str, style: Style | None = None) -> Line:
        """Text made here, of characters that are one cell wide."""
        if len(text) > self.left:
            text = text[: self.left]
        if text:
            self._segments.append(Segment(text, style))
            self.used += len(text)
        return self

    def name(
        self, text: str, width: int, style: Style | None = None, *, right: bool = False
    ) -> Line:
        """Add untrusted text in exactly `width` cells, escaped, cut or padded."""
        width = min(width, self.left)
        text = harmless(self.theme, text)
        cells = cell_len(text)
        if cells > width:
            text = fit(self.theme, text, width)
        elif right:
            text = " " * (width - cells) + text
        else:
            text += " " * (width - cells)
        if text:
            self._segments.append(Segment(text, style))
            self.used += width
        return self

    def to(self, column: int) -> Line:
        """Move on to that column."""
        return self.raw(" " * max(0, min(column, self.width) - self.used))

    def join(self, row: Row, width: int) -> Line:
        """Set a finished row of `width` cells beside what is here."""
        if width <= self.left:
            self._segments.extend(row)
            self.used += width
        return self

    def row(self) -> Row:
        """The finished row, of exactly `width` cells."""
        self.to(self.width)
        return tuple(self._segments)


def harmless(theme: Theme, text: str) -> str:
    """`text` as this terminal can show it."""
    text = screen_text(text)
    return text.encode("ascii", "replace").decode("ascii") if theme.ascii else text


def name_width(theme: Theme, names: Iterable[str], most: int) -> int:
    """Cells that the widest of the names takes, at most `most`."""
    return min(most, max((cell_len(harmless(theme, name)) for name in names), default=0))


def fit(theme: Theme, text: str, width: int) -> str:
    """Cut safe text to exactly `width` cells, with an ellipsis at the end."""
    if width <= 0:
        return ""
    return set_cell_size(text, width - 1) + theme.glyphs.cut


class Frame:
    """A whole screen: `height` rows of `width` cells. A Rich renderable."""

    def __init__(self, rows: list[Row], width: int, height: int) -> None:
        blank: Row = (Segment(" " * width),) if width else ()
        self.width = width
        self.height = height
        self.rows = rows[:height] + [blank] * (height - len(rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, row in enumerate(self.rows):
            yield from row
            if index < self.height - 1:
                yield Segment.line()
