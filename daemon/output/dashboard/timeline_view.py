"""The pieces of the picture: bars, meters, lanes of the timeline, rules."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from daemon.output.dashboard.canvas import Line, Row, harmless
from daemon.output.dashboard.state import FLOOR, Mark
from daemon.output.dashboard.theme import Theme
from daemon.output.dashboard.timeline_state import GAP, INTENT, NOTHING, SPEECH, Columns

CLIP = -1.0
LOUD = -9.0
"""dBFS from which a meter warns."""


def rule(line: Line, title: str, width: int, note: str = "") -> Line:
    """Thin line of `width` cells with a title left and a note right."""
    theme, glyph = line.theme, line.theme.glyphs.rule
    end = min(line.width, line.used + width)
    line.raw(title, theme.title).raw(" ")
    fill = end - line.used - (len(note) + 1 if note else 0)
    if fill < 2:
        note, fill = "", end - line.used
    line.raw(glyph * fill, theme.faint)
    if note:
        line.raw(" ").raw(note, theme.quiet)
    return line


def bar(line: Line, value: float, width: int, style: Style, threshold: float | None = None) -> Line:
    """Bar for a value from 0 to 1, to half a cell, with the threshold marked."""
    theme, glyphs = line.theme, line.theme.glyphs
    halves = round(min(1.0, max(0.0, value)) * 2 * width) if math.isfinite(value) else 0
    full, half = divmod(halves, 2)
    track = glyphs.heavy * full + glyphs.half * half
    track += glyphs.light * (width - len(track))
    filled = full + half
    if threshold is None or not 0.0 <= threshold <= 1.0:
        return line.raw(track[:filled], style).raw(track[filled:], theme.faint)
    at = min(width - 1, int(threshold * width))
    if at < filled:
        line.raw(track[:at], style).raw(glyphs.mark_on, style)
        return line.raw(track[at + 1 : filled], style).raw(track[filled:], theme.faint)
    line.raw(track[:filled], style).raw(track[filled:at], theme.faint)
    return line.raw(glyphs.mark, theme.threshold).raw(track[at + 1 :], theme.faint)


def meter(line: Line, rms: float, hold: float, width: int, style: Style) -> Line:
    """A level meter from FLOOR to 0 dBFS with the held peak as a mark."""
    theme, glyphs = line.theme, line.theme.glyphs
    halves = round(_share(rms) * 2 * width)
    full, half = divmod(halves, 2)
    track = glyphs.heavy * full + glyphs.half * half
    filled = len(track)
    track += glyphs.light * (width - filled)
    at = min(width - 1, int(_share(hold) * width))
    if _share(hold) <= 0.0:
        return line.raw(track[:filled], style).raw(track[filled:], theme.faint)
    hot = theme.error if hold >= CLIP else theme.warning if hold >= LOUD else theme.threshold
    if at < filled:
        line.raw(track[:at], style).raw(glyphs.peak, hot).raw(track[at + 1 : filled], style)
        return line.raw(track[filled:], theme.faint)
    line.raw(track[:filled], style).raw(track[filled:at], theme.faint)
    return line.raw(glyphs.peak, hot).raw(track[at + 1 :], theme.faint)


def lanes(theme: Theme, columns: Columns, rows: int = 1) -> tuple[Row, ...]:
    """Timeline in `rows` rows, top first: height is loudness, colour is kind."""
    eighths = np.rint(_heights(columns) * (8 * rows)).astype(np.int16)
    return _lanes(columns.kinds.tobytes(), eighths.tobytes(), rows, theme)


@lru_cache(maxsize=256)
def _lanes(kinds: bytes, eighths: bytes, rows: int, theme: Theme) -> tuple[Row, ...]:
    # Remembered, since most timelines stand still from one frame to the next.
    cells = list(
        zip(
            np.frombuffer(kinds, np.int16).tolist(),
            np.frombuffer(eighths, np.int16).tolist(),
            strict=True,
        )
    )
    return tuple(_lane(cells, base, theme) for base in range(8 * (rows - 1), -1, -8))


def _lane(cells: list[tuple[int, int]], base: int, theme: Theme) -> Row:
    """One row of (kind, height) cells, for heights from `base` to `base` + 8."""
    glyphs = theme.glyphs
    least = 1 if base == 0 else 0
    out: list[Segment] = []
    run, run_style = "", theme.faint
    for kind, height in cells:
        style = theme.faint
        if kind == GAP:
            glyph, style = glyphs.gap, theme.warning
        elif kind == NOTHING:
            glyph = " "
        else:
            glyph = glyphs.levels[min(8, max(least, height - base))]
            # What is blank needs no colour, and runs that are as long as can be are fast.
            if glyph == " ":
                style = run_style
            elif kind >= INTENT:
                style = theme.intent(kind - INTENT)
            elif kind == SPEECH:
                style = theme.speech
        if style is not run_style and run:
            out.append(Segment(run, run_style))
            run = ""
        run_style = style
        run += glyph
    return (*out, Segment(run, run_style))


def captions(line: Line, columns: Columns, marks: list[Mark], labels: tuple[str, ...]) -> Line:
    """Names of a timeline's events, each above its place.

    A name that would run into the next is cut; one without any room is left out.
    """
    begin = line.used
    places = [(columns.column(mark.start), mark.label) for mark in marks]
    places = sorted(place for place in places if 0 <= place[0] < len(columns.kinds))
    for index, (column, label) in enumerate(places):
        following = places[index + 1][0] if index + 1 < len(places) else len(columns.kinds)
        start = max(column, line.used - begin + (line.used > begin))
        room = following - start - (index + 1 < len(places))
        text = harmless(line.theme, labels[label])
        if room >= min(len(text), 2):
            line.to(begin + start).name(text, min(room, len(text)), line.theme.intent(label))
    return line


def axis(line: Line, columns: Columns) -> Line:
    """Time axis under a timeline, a label at every quarter."""
    begin, width = line.used, len(columns.kinds)
    for quarter in range(4):
        text = f"-{60 - 15 * quarter} s"
        line.to(begin + quarter * width // 4).raw(text, line.theme.faint)
    return line.to(begin + width - 3).raw("now", line.theme.faint)


def _share(dbfs: float) -> float:
    return min(1.0, max(0.0, 1.0 - dbfs / FLOOR))


def _heights(columns: Columns) -> NDArray[np.float32]:
    """Loudness from 0 to 1, shape (columns,)."""
    shares = np.clip(1.0 - columns.levels / np.float32(FLOOR), 0.0, 1.0)
    # At full speed there are no levels; speech must still be seen.
    unmeasured = (columns.levels < FLOOR) & (columns.kinds >= SPEECH)
    return np.where(unmeasured, np.float32(0.5), shares).astype(np.float32)
