"""Controls of a run whose health is made up, for outputs that ask for it."""

from __future__ import annotations

import socket

from daemon.health.snapshot import Health, StreamHealth
from daemon.output.base import OutputHealth

HEALTH = Health(
    pid=1, version="1.2", uptime=12.5, model='odd"\nmodel', backend="torch", paused=False,
    load=0.05, lag=0.25, lag_limit=0.5, busy=None,
    streams=(
        StreamHealth(
            name="mic", rate=16000, live=True, going=True, seconds=60.5, windows=9, gated=2,
            events=1, samples_captured=1, samples_classified=1, samples_gated=0, samples_lost=0,
            waiting=0.0, last_audio_age=0.1, latency_p50_ms=1.0, latency_p99_ms=2.0,
            level_dbfs=-32.5,
        ),
    ),
    outputs=(OutputHealth("MQTT", False, 3, 0, ""),),
)  # fmt: skip


class Controls:
    load = 0.1
    paused = False
    outputs: tuple[OutputHealth, ...] = ()

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def health(self) -> Health:
        return HEALTH

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def pause(self, paused: bool) -> None: ...

    def quit(self) -> None: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
