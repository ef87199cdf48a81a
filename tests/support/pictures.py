"""A run of made-up messages for the tests of the dashboard."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from daemon.messages import Event, Gap, Level, Prediction, RunInfo, StreamInfo
from daemon.output.dashboard import DashboardState
from daemon.output.dashboard.canvas import Frame

LABELS = ("up", "down", "left", "right", "go", "zero", "one", "five", "eight", "unknown", "quiet")
HOP = 0.24


def run_info(
    *names: str, live: bool = True, labels: tuple[str, ...] = LABELS, model: str = "/m/commands"
) -> RunInfo:
    streams = tuple(StreamInfo(n, 48000, 2, live, None if live else 95.0) for n in names)
    non_intents = frozenset(labels[-2:])
    thresholds = tuple(1.0 if label in non_intents else 0.6 for label in labels)
    return RunInfo(streams, labels, non_intents, thresholds, model, "torch fp32", 1.0, HOP)


def rolling(state: DashboardState, **values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    out = np.zeros(len(state.run.labels), np.float32)
    for label, value in values.items():
        out[state.run.labels.index(label)] = value
    return out


def feed(state: DashboardState, seconds: float = 30.0, *, levels: bool = True) -> float:
    """Speech every other five seconds, with an event each; its end."""
    now = state.started
    for stream in state.run.streams:
        for step in range(round(seconds / 0.1)):
            time = (step + 1) * 0.1
            now = state.started + time
            speech = int(time) % 5 == 0
            if levels:
                state.apply(
                    Level(stream.name, -20.0 if speech else -55.0, -10.0, speech, time), now
                )
        for index in range(round((seconds - 1) / HOP)):
            start = index * HOP
            speech = int(start + 0.5) % 5 == 0
            values = rolling(state, **{state.run.labels[0]: 0.9 if speech else 0.0})
            own = values if speech else None
            latency = 10.0 + index % 7 if speech else None
            state.apply(
                Prediction(stream.name, start, start + 1, not speech, own, values, latency),
                state.started + start + 1,
            )
        for second in range(5, int(seconds), 5):
            label = state.run.labels[second // 5 % (len(state.run.labels) - 2)]
            state.apply(
                Event(stream.name, label, second + 0.2, second + 0.8, 0.8, second + 1),
                state.started + second + 1,
            )
    state.tick(now + 2)
    return now


def lose(state: DashboardState, now: float) -> None:
    name = state.run.streams[0].name
    state.apply(Gap(name, 12.0, 12.5, 24000, "overflow"), now)


def terminal(
    width: int = 80,
    height: int = 24,
    *,
    colours: str = "truecolor",
    encoding: str = "utf-8",
    environ: dict[str, str] | None = None,
) -> Console:
    file = type("File", (io.StringIO,), {"encoding": encoding})()
    return Console(
        file=file,
        force_terminal=True,
        width=width,
        height=height,
        color_system=colours,  # type: ignore[arg-type]
        legacy_windows=False,
        _environ=environ or {},
    )


def lines(frame: Frame) -> list[str]:
    return ["".join(segment.text for segment in row) for row in frame.rows]
