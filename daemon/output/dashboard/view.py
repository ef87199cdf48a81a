"""Dashboard view: a pure function from state and screen size to a frame.

On a large enough screen it has five panels under thin titled rules: input level, smoothed
posteriors, the last minute, the latest events, health. With several streams each has a row for
level and last minute, and the one selected with the arrow keys is shown in detail. A small screen
has a line for each stream, and events in the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from rich.segment import Segment

from daemon.output.dashboard.canvas import Frame, Row, name_width
from daemon.output.dashboard.panels import (
    Scene,
    bars,
    feed,
    footer,
    header,
    health,
    level_line,
    source_line,
    stream_row,
)
from daemon.output.dashboard.state import DashboardState, StreamState
from daemon.output.dashboard.theme import Theme
from daemon.output.dashboard.timeline_view import axis, captions, lanes, rule

SMALLEST = (44, 13)
"""Columns and rows from which all parts are shown."""
MARGIN = 1
_SPACE = Segment(" " * MARGIN)


@dataclass(slots=True)
class _Rows:
    """Rows of the panels that share the height left by the fixed ones."""

    left: int

    def take(self, wanted: int) -> int:
        taken = max(0, min(wanted, self.left))
        self.left -= taken
        return taken


def frame(
    state: DashboardState,
    width: int,
    height: int,
    now: float,
    theme: Theme,
    *,
    pausable: bool = True,
) -> Frame:
    """The whole screen: `height` rows of `width` cells, whatever they are.

    pausable: there is a key to stop listening.
    """
    scene = Scene(state, now, theme, pausable)
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return Frame(_small(scene, width, height), width, height)
    inner = width - 2 * MARGIN
    build = _single if len(state.streams) == 1 else _several
    return Frame([_margin(row) for row in build(scene, inner, height)], width, height)


def _single(scene: Scene, width: int, height: int) -> list[Row]:
    state = scene.state
    stream = next(iter(state.streams.values()))
    labels = max(1, len(state.run.labels))
    rows = _Rows(height - 9)
    lane_rows = rows.take(1)
    posterior_rows = rows.take(min(labels, 4))
    caption, scale = rows.take(1), rows.take(1)
    posterior_rows += rows.take(labels - posterior_rows)
    lane_rows += rows.take(1)
    gaps = rows.take(5)
    lane_rows += rows.take(min(6, rows.left // 3))
    posterior_rows += rows.left

    columns = stream.timeline.columns(width)
    blank = [scene.blank(width)]
    out = [header(scene, width)]
    out += blank * (gaps >= 1)
    out.append(rule(scene.line(width), "hears", width).row())
    out.append(source_line(scene, stream, width))
    out.append(level_line(scene, stream, width))
    out += blank * (gaps >= 2)
    out += _posteriors_and_events(scene, stream, width, posterior_rows)
    out += blank * (gaps >= 3)
    out.append(rule(scene.line(width), "last minute", width).row())
    if caption:
        names = captions(scene.line(width), columns, list(stream.marks), state.run.labels)
        out.append(names.row())
    out += lanes(scene.theme, columns, lane_rows)
    if scale:
        out.append(axis(scene.line(width), columns).row())
    out += blank * (gaps >= 4)
    out.append(rule(scene.line(width), "health", width).row())
    out.append(health(scene, width))
    out += blank * (gaps >= 5)
    out.append(footer(scene, width))
    return out


def _several(scene: Scene, width: int, height: int) -> list[Row]:
    state = scene.state
    streams = list(state.streams.values())
    labels = max(1, len(state.run.labels))
    rows = _Rows(height - 6)
    posterior_rows = rows.take(max(3, min(labels, rows.left // 3)))
    listed = rows.take(len(streams))
    posterior_rows += rows.take(labels - posterior_rows)
    gaps = rows.take(4)
    posterior_rows += rows.left

    blank = [scene.blank(width)]
    out = [header(scene, width)]
    out += blank * (gaps >= 1)
    note = f"{len(streams)} streams"
    if listed < len(streams):
        first = _first_shown(state, listed)
        note = f"{first + 1} to {first + listed} of {len(streams)} streams"
    out.append(rule(scene.line(width), "hears", width, note).row())
    out += _stream_rows(scene, width, listed, names=max(12, width // 5), intents=width // 8)
    out += blank * (gaps >= 2)
    if streams:
        out += _posteriors_and_events(scene, streams[state.selected], width, posterior_rows)
    out += blank * (gaps >= 3)
    out.append(rule(scene.line(width), "health", width).row())
    out.append(health(scene, width))
    out += blank * (gaps >= 4)
    out.append(footer(scene, width))
    return out


def _small(scene: Scene, width: int, height: int) -> list[Row]:
    state = scene.state
    streams = list(state.streams.values())
    out = [header(scene, width)]
    out += _stream_rows(scene, width, max(1, height - 2), names=width // 3, intents=width // 4)
    if len(streams) == 1:
        room = height - len(out) - 1
        if room > 0:
            out += bars(scene, streams[0], width, min(room, len(state.run.labels)))
    return out + feed(scene, width, max(0, height - len(out)), with_stream=False)


def _stream_rows(scene: Scene, width: int, rows: int, *, names: int, intents: int) -> list[Row]:
    """Rows of as many streams as fit, the selected one among them.

    `names` and `intents` bound the widths of those columns.
    """
    state = scene.state
    streams = list(state.streams.values())
    first = _first_shown(state, rows)
    names = name_width(scene.theme, (stream.info.name for stream in streams), names)
    intents = name_width(scene.theme, state.run.labels, max(4, intents))
    return [
        stream_row(
            scene, stream, width, chosen=index == state.selected, names=names, intents=intents
        )
        for index, stream in islice(enumerate(streams), first, first + rows)
    ]


def _first_shown(state: DashboardState, rows: int) -> int:
    return max(0, min(state.selected - rows // 2, len(state.streams) - rows))


def _posteriors_and_events(scene: Scene, stream: StreamState, width: int, rows: int) -> list[Row]:
    """Posteriors at the left, the latest events at the right."""
    theme = scene.theme
    several = len(scene.state.streams) > 1
    left = min(width // 2 - 1, 90)
    right = width - left - 2
    title = scene.line(width)
    if several:
        title.raw("scores ", theme.title)
        title.name(stream.info.name, name_width(theme, [stream.info.name], left - 10), theme.quiet)
        title.raw(" ").raw(theme.glyphs.rule * (left - title.used), theme.faint)
    else:
        rule(title, "scores", left)
    title.raw("  ")
    rule(title, "events", right)
    posteriors = bars(scene, stream, left, rows)
    events = feed(scene, right, rows, with_stream=several)
    return [title.row()] + [
        scene.line(width).join(posterior, left).raw("  ").join(event, right).row()
        for posterior, event in zip(posteriors, events, strict=True)
    ]


def _margin(row: Row) -> Row:
    return (_SPACE, *row, _SPACE)
