"""Reads the health of a run from its worker, and serves it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict

import daemon
from daemon.base.errors import UserError
from daemon.health.server import HealthServer
from daemon.health.snapshot import Health, StreamHealth
from daemon.health.watch import Watch
from daemon.messages import RunInfo
from daemon.output.base import OutputHealth
from daemon.runtime.observer import Observer
from daemon.runtime.stream_feed import StreamFeed
from daemon.runtime.worker import Worker

VITALS_SECONDS = 0.5
"""How often watchers get load and pause."""
IDLE_SECONDS = 3.0
"""A worker that has begun no turn for longer than this hangs in one."""


class Vitals:
    """Reads a worker's state from any thread.

    What it finds may be a moment apart, since nothing is stopped for it.

    paused: whether the user has stopped listening.
    away: whether a microphone is away and looked for, at a moment of the clock.
    switched_off: which outputs can't be written at this moment, and why.
    outputs: how each output is.
    listening: the addresses at which clients are listened to.
    clients: how many are connected.
    """

    def __init__(
        self,
        worker: Worker,
        run: RunInfo,
        paused: Callable[[], bool] = lambda: False,
        away: Callable[[float], bool] = lambda _: False,
        switched_off: Callable[[], tuple[str, ...]] = lambda: (),
        outputs: Callable[[], tuple[OutputHealth, ...]] = lambda: (),
        listening: Callable[[], tuple[str, ...]] = lambda: (),
        clients: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._run = run
        self._paused = paused
        self._away = away
        self._switched_off = switched_off
        self._outputs = outputs
        self._listening = listening
        self._clients = clients
        self._clock = clock
        self._begun = clock()

    def health(self) -> Health:
        """The present health."""
        now = self._clock()
        busy = self._worker.busy_since
        return Health(
            pid=os.getpid(),
            version=daemon.__version__,
            uptime=now - self._begun,
            model=self._run.model,
            backend=self._run.backend,
            paused=self._paused(),
            load=self._worker.load,
            lag=self._worker.lag,
            lag_limit=self._worker.lag_warning,
            busy=None if busy is None else max(0.0, now - busy),
            streams=tuple(_stream(feed, now) for feed in self._worker.feeds),
            switched_off=self._switched_off(),
            outputs=self._outputs(),
            listening=self._listening(),
            clients=self._clients(),
            seconds_gone=self._worker.seconds_gone,
        )

    @property
    def load(self) -> float | None:
        """Seconds of work for a second of sound."""
        return self._worker.load

    @property
    def paused(self) -> bool:
        """The user has stopped listening."""
        return self._paused()

    @property
    def outputs(self) -> tuple[OutputHealth, ...]:
        """How each output is."""
        return self._outputs()

    def processed(self) -> int:
        """Source samples of all streams that the worker is done with."""
        return self._worker.processed

    def searching(self) -> bool:
        """Whether a microphone is searched for while the worker is well and idle."""
        now = self._clock()
        worker = self._worker
        idle = worker.busy_since is None and now - worker.last_turn < IDLE_SECONDS
        return idle and self._away(now)


def _stream(feed: StreamFeed, now: float) -> StreamHealth:
    info, progress = feed.stream.info, feed.stream.progress()
    arrival = feed.last_arrival
    return StreamHealth(
        name=info.name,
        rate=info.rate,
        live=info.live,
        client=info.client,
        going=not feed.ended,
        seconds=progress.seconds,
        windows=progress.windows,
        gated=progress.gated,
        events=progress.events,
        rejected=progress.rejected,
        samples_captured=feed.ring.captured,
        samples_classified=progress.samples_classified,
        samples_gated=progress.samples_gated,
        samples_lost=progress.samples_lost,
        waiting=feed.waiting,
        last_audio_age=None if arrival is None else max(0.0, now - arrival),
        latency_p50_ms=progress.latency_p50_ms,
        latency_p99_ms=progress.latency_p99_ms,
        level_dbfs=progress.level_dbfs,
    )


class HealthObserver(Observer):
    """Serves a run's health and its messages on a socket while it lasts.

    The messages are for watchers.

    on_warning: called with a sentence if there is no place for a socket; the run goes on without.
    """

    def __init__(
        self, vitals: Vitals, on_warning: Callable[[str], None], watch: Watch | None = None
    ) -> None:
        self.server = HealthServer(lambda: vitals.health().to_json(), watch)
        self._vitals = vitals
        self._watch = watch
        self._on_warning = on_warning
        self._next_vitals = 0.0

    def started(self) -> None:
        try:
            self.server.start()
        except UserError as error:
            self._on_warning(f"{error} (intentd status can't see this run)")

    def tick(self, now: float) -> None:
        if self._watch is not None and now >= self._next_vitals:
            self._next_vitals = now + VITALS_SECONDS
            self._watch.send_vitals(
                load=self._vitals.load,
                paused=self._vitals.paused,
                outputs=[asdict(each) for each in self._vitals.outputs],
            )

    def stopping(self) -> None:
        self.server.stop()
