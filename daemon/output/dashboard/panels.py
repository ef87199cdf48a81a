"""Rows of the dashboard's panels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.style import Style

from daemon.output.dashboard.canvas import Line, Row, name_width
from daemon.output.dashboard.state import FLASH, FLOOR, DashboardState, Entry, StreamState
from daemon.output.dashboard.theme import Theme
from daemon.output.dashboard.timeline_view import bar, lanes, meter
from daemon.output.words import clock, milliseconds

COUNTED = 56
"""Width from which each label's events are counted beside its bar."""


@dataclass(frozen=True, slots=True)
class Scene:
    """State, time and theme that a frame is drawn from."""

    state: DashboardState
    now: float
    theme: Theme
    pausable: bool = True

    def line(self, width: int) -> Line:
        return Line(self.theme, width)

    def blank(self, width: int) -> Row:
        return self.line(width).row()


def header(scene: Scene, width: int) -> Row:
    """Title row: program and state left, model and backend right."""
    state, theme, line = scene.state, scene.theme, scene.line(width)
    line.raw("intentd", theme.brand).raw("  ")
    sign, word, style = _condition(scene)
    line.raw(sign, style).raw(" ").raw(word, style)
    between = f" {theme.glyphs.between} "
    model = _short(state.run.model)
    backend_width = name_width(theme, [state.run.backend], 36)
    room = line.left - 3 - len(between) - backend_width
    model_width = name_width(theme, [model], room)
    if room >= 4:
        line.to(line.width - model_width - len(between) - backend_width)
        line.name(model, model_width).raw(between, theme.faint)
        line.name(state.run.backend, backend_width, theme.quiet)
    return line.row()


def source_line(scene: Scene, stream: StreamState, width: int) -> Row:
    """The device or file, its rate and channels, and how far it is."""
    theme, line = scene.theme, scene.line(width)
    facts = f"{_rate(stream.info.rate)}  {_channels(stream.info.channels)}  {_position(stream)}"
    trouble = _trouble(scene, stream)
    room = max(0, line.width - len(facts) - 2)
    name = name_width(theme, [stream.info.name], room if trouble is None else max(8, room // 3))
    line.name(stream.info.name, name, theme.key)
    if trouble is not None:
        text, level = trouble
        line.raw("  ").name(text, max(0, room - line.used), theme.level(level))
    return line.to(line.width - len(facts)).raw(facts, theme.quiet).row()


def level_line(scene: Scene, stream: StreamState, width: int) -> Row:
    """The meter with the held peak, its figure, and whether this is speech."""
    theme, line = scene.theme, scene.line(width)
    word = "speech" if stream.speech else "silence"
    style = theme.good if stream.speech else theme.quiet
    tail = f"{_decibels(stream.rms)}  "
    room = line.width - len(tail) - 9
    meter(line, stream.rms, stream.peak_hold(scene.now), room, style)
    line.raw("  ").raw(tail, theme.quiet)
    return line.raw(word, style if stream.speech else theme.faint).row()


def bars(scene: Scene, stream: StreamState, width: int, rows: int) -> list[Row]:
    """Smoothed posteriors in `rows` rows: a bar and its threshold each."""
    run, theme = scene.state.run, scene.theme
    shown = _worth_a_row(scene.state, stream, rows)
    apart = len(shown) * 2 - 1 <= rows
    label_width = name_width(theme, run.labels, max(6, width // 3))
    out: list[Row] = []
    fired = _fired(stream, scene.now)
    counted = 7 if width >= COUNTED else 0
    for label in shown:
        value = float(stream.rolling[label])
        intent = run.labels[label] not in run.non_intents
        threshold = run.thresholds[label] if intent and label < len(run.thresholds) else None
        over = threshold is not None and value >= threshold
        style = theme.intent(label) if over else theme.bar
        line = scene.line(width)
        name_style = style if over else theme.quiet
        _label(line, run.labels[label], label_width, name_style, flash=fired == label)
        line.raw("  ")
        bar(line, value, max(0, line.left - 6 - counted), style, threshold)
        figure = style if over else theme.quiet if value >= 0.01 else theme.faint
        line.raw(f"  {value:4.2f}", figure)
        if counted and label in stream.fired:
            line.raw(f"{stream.fired[label]:>6}x"[-7:], theme.quiet)
        out.append(line.row())
        if apart and len(out) < rows:
            out.append(scene.blank(width))
    return out + [scene.blank(width)] * (rows - len(out))


def feed(scene: Scene, width: int, rows: int, *, with_stream: bool) -> list[Row]:
    """The latest events and troubles, newest first, in `rows` rows of `width`."""
    labels = name_width(scene.theme, scene.state.run.labels, max(6, width // 3))
    entries = islice(scene.state.feed, rows)
    out = [_entry(scene, entry, width, labels=labels, with_stream=with_stream) for entry in entries]
    return out + [scene.blank(width)] * (rows - len(out))


def stream_row(
    scene: Scene, stream: StreamState, width: int, *, chosen: bool, names: int, intents: int
) -> Row:
    """Row of one of several streams: name, meter, last minute, top intent.

    `names` and `intents` are the widths of those columns.
    """
    theme, line = scene.theme, scene.line(width)
    trouble = _trouble(scene, stream)
    sign, style = theme.glyphs.hollow, theme.faint
    if trouble is not None:
        style = theme.level(trouble[1])
    elif stream.speech:
        sign, style = theme.glyphs.dot, theme.good
    line.raw(theme.glyphs.chosen if chosen else " ", theme.brand).raw(sign, style).raw(" ")
    line.name(stream.info.name, names, theme.key if chosen else theme.text).raw("  ")
    score_width = intents + 6
    if line.left - score_width >= 22:
        speech = theme.good if stream.speech else theme.quiet
        meter(line, stream.rms, stream.peak_hold(scene.now), 8, speech)
        line.raw("  ")
    room = line.left - score_width - 1
    if trouble is not None:
        line.name(trouble[0], max(0, room), theme.level(trouble[1]))
    elif room >= 6:
        (drawn,) = lanes(theme, stream.timeline.columns(room))
        line.join(drawn, room)
    line.to(line.width - score_width)
    _top_intent(scene, stream, line, intents)
    return line.row()


def health(scene: Scene, width: int) -> Row:
    """Health row: latency, real-time factor, windows, losses, outputs, uptime.

    Figures that do not fit are left out from the right, except uptime.
    """
    state, theme, line = scene.state, scene.theme, scene.line(width)
    p50, p99 = state.latency if state.latency is not None else (None, None)
    windows = state.windows
    silent = f"{100 * state.gated // windows:3d} %" if windows else "  - %"
    lost = _lost(state)
    items: list[tuple[str, str, Style]] = [
        ("latency", f"{milliseconds(p50):>6} p50 {milliseconds(p99):>6} p99", theme.text),
        ("lost", lost, theme.warning if state.samples_lost else theme.good),
        ("rtf", f"{state.load:4.2f}" if state.load is not None else "   -", _load(state, theme)),
        ("windows", f"{windows}", theme.text),
        ("silent", silent, theme.text),
    ]
    if state.outputs:
        items.insert(2, ("outputs", *_outputs(state, theme)))
    if state.rejected is not None:
        items.insert(2, ("rejected", f"{state.rejected}", theme.text))
    up = clock(state.uptime(scene.now))
    end = line.width - len(up) - 3
    for title, value, style in items:
        if line.used + len(title) + len(value) + 3 > end:
            continue
        line.raw(title, theme.quiet).raw(" ").raw(value, style).raw("  ")
    return line.to(end).raw("up ", theme.quiet).raw(up).row()


def _outputs(state: DashboardState, theme: Theme) -> tuple[str, Style]:
    """How many outputs work, and whether all have got everything."""
    working = sum(output.working for output in state.outputs)
    if working < len(state.outputs):
        return f"{len(state.outputs) - working} off", theme.error
    lost = any(output.lost for output in state.outputs)
    return f"{working} on", theme.warning if lost else theme.good


def footer(scene: Scene, width: int) -> Row:
    """The keys."""
    state, theme, line = scene.state, scene.theme, scene.line(width)
    keys = [("space", "listen" if state.paused else "pause ")] if scene.pausable else []
    keys.append(("q", "quit"))
    if len(state.streams) > 1:
        keys.append(("up/down", "choose a stream"))
    for key, meaning in keys:
        line.raw(key, theme.key).raw(f" {meaning}   ", theme.quiet)
    return line.row()


def _condition(scene: Scene) -> tuple[str, str, Style]:
    state, now, theme = scene.state, scene.now, scene.theme
    glyphs = theme.glyphs
    streams = list(state.streams.values())
    ended = all(stream.summary is not None for stream in streams)
    if streams and ended and not state.run.serves:
        return glyphs.hollow, "done", theme.quiet
    if state.paused:
        return glyphs.pause, "paused", theme.warning
    ages = [age for stream in streams if (age := state.deaf_for(stream, now)) is not None]
    if ages:
        return glyphs.dot, f"hears nothing for {max(ages):.0f} s", theme.error
    if not streams and state.live:
        return glyphs.dot, "waiting for clients", theme.good
    return glyphs.dot, "listening" if state.live else "replaying", theme.good


def _trouble(scene: Scene, stream: StreamState) -> tuple[str, str] | None:
    """Problem of a stream, shown in place of its panels, and its severity."""
    age = scene.state.deaf_for(stream, scene.now)
    notice = scene.state.notice(stream, scene.now)
    if notice is not None:
        return notice.text, notice.level
    if age is not None:
        return f"no sound for {age:.0f} s", "error"
    return None


def _worth_a_row(state: DashboardState, stream: StreamState, rows: int) -> list[int]:
    """Labels in order; if too many, those with the highest recent scores."""
    labels = range(len(state.run.labels))
    if len(labels) <= rows:
        return list(labels)
    # Intents come before the others where nothing else tells them apart.
    intents = [state.run.labels[i] not in state.run.non_intents for i in labels]
    best = sorted(labels, key=lambda i: (-round(float(stream.recent[i]), 1), not intents[i], i))
    return sorted(best[:rows])


def _top_intent(scene: Scene, stream: StreamState, line: Line, intents: int) -> None:
    theme, run = scene.theme, scene.state.run
    if not len(stream.rolling) or float(stream.rolling.max()) < 0.005:
        return
    top = int(np.argmax(stream.rolling))
    value = float(stream.rolling[top])
    over = run.labels[top] not in run.non_intents and value >= run.thresholds[top]
    style = theme.intent(top) if over else theme.quiet
    flash = _fired(stream, scene.now) == top
    _label(line, run.labels[top], intents, style, flash=flash).raw(f"  {value:4.2f}", style)


def _label(line: Line, label: str, width: int, style: Style, *, flash: bool) -> Line:
    """A label in `width` cells, standing out while its event is new."""
    end = line.used + width
    cells = name_width(line.theme, [label], width)
    return line.name(label, cells, line.theme.flash if flash else style).to(end)


def _entry(scene: Scene, entry: Entry, width: int, *, labels: int, with_stream: bool) -> Row:
    theme, line = scene.theme, scene.line(width)
    fresh = scene.now - entry.at < FLASH
    line.name(entry.time, min(8, max(0, width - 4)), theme.quiet, right=True).raw("  ")
    if entry.level != "event":
        if with_stream and entry.stream:
            line.name(entry.stream, name_width(theme, [entry.stream], width // 4), theme.quiet)
            line.raw("  ")
        return line.name(entry.text, line.left, theme.level(entry.level)).row()
    colour = theme.intent(entry.label) if entry.label is not None else theme.text
    _label(line, entry.text, labels, colour, flash=fresh)
    if entry.score is not None:
        line.raw(f"  {entry.score:4.2f}", theme.text)
    if with_stream and line.left > 4:
        line.raw("  ").name(entry.stream, line.left, theme.quiet)
    return line.row()


def _fired(stream: StreamState, now: float) -> int | None:
    entry = stream.last_event
    return entry.label if entry is not None and now - entry.at < FLASH else None


def _lost(state: DashboardState) -> str:
    seconds = state.seconds_lost
    if not state.samples_lost:
        return "nothing"
    return f"{seconds:.1f} s" if seconds >= 0.05 else f"{state.samples_lost} samples"


def _load(state: DashboardState, theme: Theme) -> Style:
    if state.load is None or state.load < 0.8:
        return theme.text
    return theme.error if state.load >= 1.0 else theme.warning


def _position(stream: StreamState) -> str:
    at = clock(stream.at_stream)
    if stream.info.seconds is None:
        return f"{at:>7}"
    whole = clock(stream.info.seconds)
    return f"{at:>{len(whole)}} / {whole}"


def _decibels(dbfs: float) -> str:
    return f"{dbfs:4.0f} dB" if dbfs > FLOOR else " < -60"


def _rate(rate: int) -> str:
    return f"{rate / 1000:g} kHz"


def _channels(channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def _short(model: str) -> str:
    """A hub id as it is, a directory by its own name."""
    path = Path(model)
    return model if len(path.parts) <= 2 and not path.is_absolute() else path.name
