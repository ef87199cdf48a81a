"""Dashboard state: updated by messages, read by the view, bounded.

Pure: no clock and no thread. `now` is an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    Rejection,
    RunInfo,
    Scores,
    Start,
    Status,
    StreamInfo,
    Summary,
)
from daemon.output.base import OutputHealth
from daemon.output.dashboard.timeline_state import GAP, INTENT, SILENCE, SPEECH, Timeline
from daemon.output.words import clock, event_time

FLOOR = -60.0
"""dBFS at the left end of a meter."""
HOLD = 1.5
"""Seconds a meter holds its peak before it falls."""
FALL = 24.0
"""dB a second at which a held peak then falls."""
FLASH = 1.2
"""Seconds for which a new event stands out."""
DEAF = 2.0
"""Seconds without a message from a live stream after which the view says so."""
NOTICE = 12.0
"""Seconds for which a piece of information stays; a warning stays until the next word."""
GONE = 10.0
"""Seconds for which a client's stream stays after its end."""
SHOWN = 256
"""Streams from which on clients' streams go with their end."""
LATENCIES = 512
FEED = 200
MARKS = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One line among the latest events."""

    time: str
    stream: str
    text: str
    level: str
    """"event", or the level of a status: "info", "warning" or "error"."""
    at: float
    label: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """An event's place in the timeline, in stream time."""

    start: float
    end: float
    label: int


@dataclass(slots=True)
class StreamState:
    """One stream as it is drawn."""

    info: StreamInfo
    rolling: Scores
    recent: Scores
    """Each label's recent highest rolling value, fading: which labels are worth a row."""
    timeline: Timeline = field(default_factory=Timeline)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=MARKS))
    rms: float = FLOOR
    peak: float = FLOOR
    held: float = FLOOR
    held_at: float = 0.0
    speech: bool = False
    at_stream: float = 0.0
    metered_to: float | None = None
    """Stream time up to which levels came; None while there are none (a replay at full speed)."""
    last_message_at: float = 0.0
    windows: int = 0
    gated: int = 0
    events: int = 0
    rejected: int = 0
    """Candidates for events that the verifier rejected."""
    samples_lost: int = 0
    last_event: Entry | None = None
    notice: Status | None = None
    noticed_at: float = 0.0
    summary: Summary | None = None
    fired: dict[int, int] = field(default_factory=dict)
    """Events so far by label."""

    def peak_hold(self, now: float) -> float:
        """The held peak in dBFS, falling once it has been held."""
        return max(self.peak, self.held - FALL * max(0.0, now - self.held_at - HOLD))


@dataclass(slots=True)
class Totals:
    """Counts of clients' streams that are no longer shown."""

    windows: int = 0
    gated: int = 0
    samples_lost: int = 0
    seconds_lost: float = 0.0

    def add(self, stream: StreamState) -> None:
        self.windows += stream.windows
        self.gated += stream.gated
        self.samples_lost += stream.samples_lost
        self.seconds_lost += stream.samples_lost / max(1, stream.info.rate)


class DashboardState:
    """Everything the view draws."""

    def __init__(self, run: RunInfo, now: float, wall: datetime | None = None) -> None:
        """`wall`: the time of day at `now`, by which what happens live is dated."""
        self.run = run
        self.started = now
        self.live = run.serves or any(info.live for info in run.streams)
        self.wall = wall if self.live else None
        self.streams = {info.name: _new_stream(info, run, now) for info in run.streams}
        self.feed: deque[Entry] = deque(maxlen=FEED)
        """Newest first."""
        self.paused = False
        self.resumed_at = now
        self.selected = 0
        self.load: float | None = None
        """Real-time factor: seconds of work for a second of sound, if the engine tells."""
        self.outputs: tuple[OutputHealth, ...] = ()
        """Outputs beside this one that have a state to show."""
        self.ended: float | None = None
        """When the run was over; from then on uptime stands still."""
        self.latency: tuple[float, float] | None = None
        """p50 and p99 in milliseconds over the last windows, kept still for a second."""
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._latency_at = -1e9
        self._labels = {label: i for i, label in enumerate(run.labels)}
        self._last_status: Status | None = None
        self._gone = Totals()

    def apply(self, message: Message, now: float) -> None:
        """Take in one message."""
        if isinstance(message, Status):
            self._status(message, now)
            return
        if isinstance(message, Start):
            self._begin(message.info, now)
            return
        stream = self.streams.get(message.stream)
        if stream is None:
            return
        stream.last_message_at = max(stream.last_message_at, now)
        match message:
            case Level():
                _level(stream, message, now)
            case Prediction():
                self._prediction(stream, message, now)
            case Event():
                self._event(stream, message, now)
            case Rejection():
                stream.rejected += 1
            case Gap():
                self._gap(stream, message, now)
            case Summary():
                stream.summary = message
                stream.samples_lost = message.samples_lost
                stream.speech = False

    def take_counts(
        self, streams: Mapping[str, Mapping[str, Any]], gone: Mapping[str, float]
    ) -> None:
        """Take counts since the run's start, where not every message was seen.

        Of the streams by name, and of those that are gone.
        """
        for name, counts in streams.items():
            stream = self.streams.get(name)
            if stream is not None:
                stream.windows, stream.gated = counts["windows"], counts["gated"]
                stream.events, stream.samples_lost = counts["events"], counts["samples_lost"]
                stream.fired = {self._labels[each]: n for each, n in counts["fired"].items()}
        self._gone = Totals(
            int(gone["windows"]),
            int(gone["gated"]),
            int(gone["samples_lost"]),
            gone["seconds_lost"],
        )

    def pause(self, paused: bool, now: float) -> None:
        self.paused = paused
        self.resumed_at = now
        self._enter(Entry(self._moment(now), "", "paused" if paused else "listening", "info", now))

    def select(self, step: int) -> None:
        """Move the selection of the detailed stream, as far as the ends."""
        self.selected = min(max(0, self.selected + step), max(0, len(self.streams) - 1))

    def tick(self, now: float) -> None:
        """Update what changes with time alone; call it also in silence."""
        self._remove_gone(now)
        if now - self._latency_at >= 1.0 and self._latencies:
            p50, p99 = np.percentile(self._latencies, (50, 99))
            self.latency = (float(p50), float(p99))
            self._latency_at = now

    def uptime(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.started

    def deaf_for(self, stream: StreamState, now: float) -> float | None:
        """Seconds since the last message of a live stream, if that is too long."""
        if not stream.info.live or stream.info.client or self.paused:
            return None
        if stream.summary is not None or self.ended:
            return None
        age = now - max(stream.last_message_at, self.resumed_at)
        return age if age >= DEAF else None

    def notice(self, stream: StreamState, now: float) -> Status | None:
        """The last word about a stream while it still matters."""
        notice = stream.notice
        if notice is None or (notice.level == "info" and now - stream.noticed_at > NOTICE):
            return None
        return notice

    @property
    def windows(self) -> int:
        return self._gone.windows + sum(stream.windows for stream in self.streams.values())

    @property
    def gated(self) -> int:
        return self._gone.gated + sum(stream.gated for stream in self.streams.values())

    @property
    def rejected(self) -> int | None:
        """Candidates that the verifier rejected; None without a verifier."""
        if not self.run.verified:
            return None
        return sum(stream.rejected for stream in self.streams.values())

    @property
    def samples_lost(self) -> int:
        return self._gone.samples_lost + sum(s.samples_lost for s in self.streams.values())

    @property
    def seconds_lost(self) -> float:
        going = (s.samples_lost / max(1, s.info.rate) for s in self.streams.values())
        return self._gone.seconds_lost + sum(going)

    def _begin(self, info: StreamInfo, now: float) -> None:
        """Begin a client's stream; another one of that client may have ended."""
        known = self.streams.get(info.name)
        if known is not None:
            if known.summary is None:
                return
            self._gone.add(known)
        self.streams[info.name] = _new_stream(info, self.run, now)

    def _remove_gone(self, now: float) -> None:
        for name, stream in list(self.streams.items()):
            ended = stream.info.client and stream.summary is not None
            crowded = len(self.streams) > SHOWN
            if ended and (crowded or now - stream.last_message_at >= GONE):
                self._gone.add(self.streams.pop(name))
                self.select(0)

    def _moment(self, now: float) -> str:
        """Live the time of day, in a replay the time since it began."""
        if self.wall is None:
            return clock(self.uptime(now))
        return (self.wall + timedelta(seconds=now - self.started)).strftime("%H:%M:%S")

    def _status(self, message: Status, now: float) -> None:
        stream = self.streams.get(message.stream) if message.stream is not None else None
        if stream is not None:
            stream.notice, stream.noticed_at = message, now
        if message != self._last_status:
            name = message.stream or ""
            self._enter(Entry(self._moment(now), name, message.text, message.level, now))
        self._last_status = message

    def _prediction(self, stream: StreamState, message: Prediction, now: float) -> None:
        stream.windows += 1
        stream.gated += message.gated
        stream.rolling = message.rolling
        stream.recent = np.maximum(stream.recent * np.float32(0.98), message.rolling)
        stream.at_stream = max(stream.at_stream, message.end)
        if message.latency_ms is not None and np.isfinite(message.latency_ms):
            self._latencies.append(message.latency_ms)
        if stream.metered_to is None:
            # Without levels the windows tell where there was speech; each speaks for its middle.
            middle, half = (message.start + message.end) / 2, self.run.hop / 2
            kind = SILENCE if message.gated else SPEECH
            stream.timeline.mark(middle - half, middle + half, kind)
            stream.speech = not message.gated
        self.tick(now)

    def _event(self, stream: StreamState, message: Event, now: float) -> None:
        stream.events += 1
        label = self._labels.get(message.intent)
        score = message.score if message.verified is None else message.verified
        entry = Entry(
            event_time(message), message.stream, message.intent, "event", now, label, score
        )
        stream.last_event = entry
        self._enter(entry)
        if label is not None:
            stream.fired[label] = stream.fired.get(label, 0) + 1
            stream.timeline.mark(message.start, message.end, INTENT + label)
            stream.marks.append(Mark(message.start, message.end, label))

    def _gap(self, stream: StreamState, message: Gap, now: float) -> None:
        stream.samples_lost += message.samples_lost
        stream.timeline.mark(message.start, message.end, GAP)
        stream.at_stream = max(stream.at_stream, message.end)
        if stream.metered_to is not None:
            stream.metered_to = max(stream.metered_to, message.end)
        text = f"lost {message.samples_lost / max(1, stream.info.rate):.2f} s: {message.reason}"
        level = "info" if message.reason == "paused" else "warning"
        when = self._moment(now) if stream.info.live else clock(message.start, 2)
        self._enter(Entry(when, message.stream, text, level, now))

    def _enter(self, entry: Entry) -> None:
        self.feed.appendleft(entry)


def _new_stream(info: StreamInfo, run: RunInfo, now: float) -> StreamState:
    nothing = np.zeros(len(run.labels), np.float32)
    return StreamState(info, nothing, nothing, last_message_at=now)


def _level(stream: StreamState, message: Level, now: float) -> None:
    stream.rms = message.rms_dbfs if np.isfinite(message.rms_dbfs) else FLOOR
    stream.peak = message.peak_dbfs if np.isfinite(message.peak_dbfs) else FLOOR
    if stream.peak >= stream.peak_hold(now):
        stream.held, stream.held_at = stream.peak, now
    stream.speech = message.speech
    stream.at_stream = max(stream.at_stream, message.at_stream)
    begin = stream.metered_to
    if begin is None or not 0 <= message.at_stream - begin <= 2.0:
        begin = message.at_stream - 0.1
    kind = SPEECH if message.speech else SILENCE
    stream.timeline.mark(begin, message.at_stream, kind, stream.rms)
    stream.metered_to = message.at_stream
