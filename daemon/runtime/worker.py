"""The worker: reads rings, classifies windows in batches, publishes.

It waits on one `Wake` that every ring sets, and never spins. What it holds for each stream is
bounded: live, a ring that the worker can't keep up with is shed down to its newest second, all at
once, since one long gap leaves more windows whole than many short ones; a replay's feeder waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daemon.capture.wake import Wake
from daemon.decide import EventSettings
from daemon.messages import Event, Message, Prediction, Status
from daemon.runtime.adaptive_hop import AdaptiveHop
from daemon.runtime.batches import Batches, Classify
from daemon.runtime.lag import LagMonitor, Load, ProcessStop
from daemon.runtime.stream_feed import Due, StreamFeed, time_of_day
from daemon.vad import GateBank

LONGEST_WAIT = 0.5
"""Seconds between two turns at most, should a wake-up get lost."""


Publish = Callable[..., None]
"""Takes messages, in order, as its arguments."""


class Worker:
    """Runs `run` in its own thread.

    Other threads may read its figures, drain and abandon it.

    max_batch: windows classified at once, at most.
    hop: seconds from window to window.
    lag_warning: seconds behind live sound from which on to warn.
    lag_limit: seconds of live sound that may wait before the oldest is shed.
    widest_hop: seconds up to which the hop widens while the model is too slow for live sound; 0:
        never.
    threads: that classify batches beside the worker's own, for recordings as fast as they are read.
        All streams then take turns of the same length, so that what shares a batch, and with it
        the last bit of the scores, depends neither on this number nor on time. 0: the worker
        classifies, as soon as a window is complete.
    open_ended: whether streams may still be added, so that it goes on without any.
    """

    def __init__(
        self,
        feeds: Sequence[StreamFeed],
        classify: Classify,
        gates: GateBank,
        publish: Publish,
        wake: Wake,
        *,
        max_batch: int,
        hop: float,
        lag_warning: float,
        lag_limit: float,
        widest_hop: float = 0.0,
        threads: int = 0,
        open_ended: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feeds = list(feeds)
        self._open_ended = open_ended
        self._closed = False
        self._shows_levels: bool | None = None
        self._run_model = classify
        self._gates = gates
        self._publish = publish
        self._wake = wake
        self._max_batch = max_batch
        self._hop = hop
        self.lag_warning = lag_warning
        self._lag = LagMonitor(lag_warning)
        self._lag_limit = lag_limit
        self._clock = clock
        self._load = Load()
        self._begun = clock()
        self._deadline: float | None = None
        self._abandoned = False
        self._latency = 0.0
        self._widest_hop = widest_hop
        self._adaptive_hop = AdaptiveHop(hop, widest_hop)
        self._changes: deque[Callable[[], None]] = deque()
        self._stop = ProcessStop()
        self._adopted = False  # which may have made windows due without more sound
        self._batches: Batches[Due] | None = Batches(classify, threads) if threads else None
        self._await_sound(self._feeds, self._feeds)
        self.processed = 0
        """Source samples read from the rings and processed, without shed ones."""
        self.windows = 0
        """Windows published so far, gated ones included."""
        self.seconds_gone = 0.0
        """Stream time of streams that were forgotten."""
        self.busy_since: float | None = None
        """Since when the model has been at work on one batch; None between batches."""
        self.finished = False
        """All streams have ended, and their summaries are published."""
        self.last_turn = self._begun
        """When the worker last began a turn, in its clock: at least twice a second, unless it
        hangs."""

    # ---- for other threads ----------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        """Process the rings' content until `deadline`, and give up the rest.

        `deadline` is of the clock; the rings are about to be finished.
        """
        self._deadline = deadline
        self._wake.set()

    def abandon(self) -> None:
        """Return as soon as the present batch is done, and publish nothing more."""
        self._abandoned = True
        self._wake.set()

    def resumed(self) -> None:
        """Go on after the process was stopped.

        Sound waited meanwhile, which is not the model's fault.
        """
        self._stop.end(self._clock())

    def adopt(self, *, hop: float, events: EventSettings, lag_warning: float) -> None:
        """Use other settings from the next turn on; see `Stream.adopt`."""

        def apply() -> None:
            for feed in self._feeds:
                if not feed.read_all:
                    feed.stream.adopt(hop=hop, events=events)
            self._adopted = True
            self._hop = hop
            self._adaptive_hop = AdaptiveHop(hop, self._widest_hop)
            if lag_warning != self.lag_warning:
                self.lag_warning = lag_warning
                self._lag = LagMonitor(lag_warning)

        self._changes.append(apply)
        self._wake.set()

    def add(self, feed: StreamFeed) -> None:
        """Add a stream from the next turn on; it is forgotten once it has ended."""

        def take_on() -> None:
            feed.begun = feed.on_time_at = self._clock()
            feed.stream.adopt(hop=self._hop)
            if self._shows_levels is not None:
                feed.stream.show_levels(self._shows_levels)
            self._feeds = [*self._feeds, feed]
            self._await_sound([feed], self._feeds)

        self._changes.append(take_on)
        self._wake.set()

    def show_levels(self, wanted: bool) -> None:
        """Publish levels of all streams there are, or no more."""

        def apply() -> None:
            self._shows_levels = wanted
            for feed in self._feeds:
                feed.stream.show_levels(wanted)
            self._await_sound(self._feeds, self._feeds)

        self._changes.append(apply)
        self._wake.set()

    def close(self) -> None:
        """No more streams will be added."""
        self._closed = True
        self._wake.set()

    @property
    def feeds(self) -> Sequence[StreamFeed]:
        """All streams, to be read; of those that were added, those that go on."""
        return self._feeds

    @property
    def lag(self) -> float:
        """Seconds since the arrival of the oldest unprocessed live sound."""
        now = self._clock()
        going = [feed.lag(now) for feed in self._feeds if feed.live and not feed.ended]
        return max(*going, self._latency) if going else 0.0

    @property
    def load(self) -> float | None:
        """Recent seconds of work for a second of sound; None if not known yet."""
        return self._load.value

    def status_line(self) -> str:
        """Uptime, streams, windows, load and waiting sound in one line."""
        going = sum(not feed.ended for feed in self._feeds)
        waiting = max((feed.waiting for feed in self._feeds), default=0.0)
        load = "unknown" if self.load is None else f"{self.load:.3f}"
        return (
            f"up {self._clock() - self._begun:.0f} s, {going} of {len(self._feeds)} streams going"
            f", {self.windows} windows, {load} s of work for a second of sound"
            f", {waiting:.2f} s of sound waiting"
        )

    # ---- the worker's thread --------------------------------------------------------------------

    def run(self) -> None:
        """Work until every stream has ended. Raises whatever goes wrong."""
        try:
            self._run()
        finally:
            if self._batches is not None:
                self._batches.close()

    def _run(self) -> None:
        while not self._abandoned:
            if self._deadline is not None and self._clock() >= self._deadline:
                self._give_up()
            self.last_turn = self._clock()
            self.step()
            if self._done():
                self.finished = True
                return
            if not self._more():
                wait = LONGEST_WAIT
                if self._deadline is not None:
                    wait = min(wait, max(0.0, self._deadline - self._clock()))
                self._wake.wait(wait)

    def _done(self) -> bool:
        if self._changes or not all(feed.ended for feed in self._feeds):
            return False
        late = self._deadline is not None and self._clock() >= self._deadline
        return self._closed or late or not self._open_ended()

    def _more(self) -> bool:
        """Whether there is enough for a turn; if not, a ring will wake us.

        It is the ring that makes it enough.
        """
        if self._changes:
            return True
        going = [feed for feed in self._feeds if not feed.read_all]
        if not going:
            return bool(self._batches)
        return self._adopted or bool(self._turn(going))

    def _turn(self, going: Sequence[StreamFeed]) -> Sequence[StreamFeed]:
        """Of the streams that go on those with enough sound for a turn."""
        ready = [feed for feed in going if feed.ring.ready]
        return ready if self._batches is None or len(ready) == len(going) else []

    def _await_sound(self, turn: Sequence[StreamFeed], going: Sequence[StreamFeed]) -> None:
        """Have a turn's streams wake the worker once the next batch is full.

        More at once would only make the first of it wait.
        """
        seconds = self._hop * max(1.0, self._max_batch / max(1, len(going)))
        for feed in turn:
            frames = max(1, round(seconds * feed.ring.rate))
            feed.await_sound(frames, all_of_it=self._batches is not None)

    def step(self) -> None:
        """One turn for every stream with enough sound for a message."""
        while self._changes:
            self._changes.popleft()()
        begun = self._clock()
        for feed in self._feeds:
            feed.check_time(begun)
        going = [feed for feed in self._feeds if not feed.ended]
        busy, self._adopted = self._adopted, False
        turn = going if busy else self._turn(going)
        seconds_read, taken = 0.0, 0
        newest: list[tuple[StreamFeed, float]] = []
        for feed in turn:
            feed.shed(self._lag_limit)
            chunk = feed.ring.read(feed.next_read)
            if chunk is not None:
                feed.stream.feed(chunk)
                seconds_read += len(chunk.samples) / feed.ring.rate
                taken += len(chunk.samples)
                if len(chunk.samples):
                    newest.append((feed, chunk.arrival(chunk.end - 1)))
                busy = True
            elif feed.ring.finished and not feed.read_all:
                feed.stream.finish()
                feed.read_all = busy = True
            if feed.ring.channels_cancel:
                feed.stream.ignore_level()
        if busy:
            self._gates.run([gate for feed in turn for gate in feed.stream.gates()])
            self._classify([(feed, window) for feed in turn for window in feed.stream.due()])
            self._publish_messages(turn)
        elif self._batches and all(feed.read_all for feed in going):
            self._resolve(keep=0)
        self._await_sound(turn, [feed for feed in going if not feed.ended])
        if not busy:
            return
        for feed, arrival in newest:
            feed.last_arrival = arrival
        gone = [feed for feed in going if feed.ended and feed.stream.info.client]
        if gone:
            self.seconds_gone += sum(feed.ring.position / feed.ring.rate for feed in gone)
            self._feeds = [feed for feed in self._feeds if feed not in gone]
        self.processed += taken
        now = self._clock()
        self._load.add(now - begun, seconds_read, now)
        self._check_lag(going, now)

    def _classify(self, due: Sequence[Due]) -> None:
        for first in range(0, len(due), self._max_batch):
            batch = due[first : first + self._max_batch]
            if self._abandoned or (self._deadline is not None and self._clock() >= self._deadline):
                return
            windows = np.stack([window.samples for _, window in batch])
            if self._batches is not None:
                self._batches.add(batch, windows)
                self._resolve()
                continue
            self.busy_since = self._clock()
            self._take_scores(batch, self._run_model(windows))

    def _resolve(self, **keep: int) -> None:
        """Wait for the scores of the oldest batches; see `Batches.results`."""
        assert self._batches is not None
        self.busy_since = self._clock()
        for batch, scores in self._batches.results(**keep):
            self._take_scores(batch, scores)
            if self._abandoned or (self._deadline is not None and self._clock() >= self._deadline):
                break
            self.busy_since = self._clock()
        self.busy_since = None

    def _take_scores(self, batch: Sequence[Due], scores: NDArray[np.float32]) -> None:
        now = self._clock()
        if self.busy_since is not None:
            self._adaptive_hop.add(now - self.busy_since, len(batch))
        self.busy_since = None
        for (feed, window), row in zip(batch, scores, strict=True):
            feed.stream.resolve(window, row, now)
        self._publish_messages({id(feed): feed for feed, _ in batch}.values())

    def _publish_messages(self, feeds: Iterable[StreamFeed]) -> None:
        """Publish the streams' messages in one call, which wakes outputs once."""
        messages = [message for feed in feeds for message in self._messages_of(feed)]
        if messages:
            self._publish(*messages)

    def _messages_of(self, feed: StreamFeed) -> Iterator[Message]:
        for message in feed.stream.take():
            if isinstance(message, Prediction):
                self.windows += 1
                if feed.live and not feed.stream.info.client:
                    self._latency = (message.latency_ms or 0.0) / 1000  # silence costs nothing
            elif isinstance(message, Event) and feed.live:
                message = replace(message, at=time_of_day())  # noqa: PLW2901
            yield message
        if feed.read_all and feed.stream.drained and not feed.ended:
            counts = feed.ring if feed.ring.finished else None  # still written: can't be compared
            yield feed.stream.summary(counts)
            feed.ended = True

    # ---- too slow -------------------------------------------------------------------------------

    def _check_lag(self, going: Sequence[StreamFeed], now: float) -> None:
        for feed in going:
            feed.check_time(now)
        if any(feed.live for feed in going) and not self._stop.excuses(
            self.lag, self.lag_warning, now
        ):
            status = self._lag.update(self.lag, now)
            if status is not None:
                self._publish(status)
            hop = self._adaptive_hop.update(self.lag, self.lag_warning, len(going), now)
            if hop is not None:
                self._change_hop(going, hop)

    def _change_hop(self, going: Sequence[StreamFeed], hop: float) -> None:
        wider = hop > self._hop
        self._hop = hop
        for feed in going:
            feed.stream.adopt(hop=hop)
        self._adopted = True
        why = "so that the model keeps up" if wider else "since the model keeps up again"
        self._publish(Status(None, f"a window comes every {1000 * hop:.0f} ms now, {why}"))

    # ---- the end --------------------------------------------------------------------------------

    def _give_up(self) -> None:
        """Count unclassified sound as shed and publish a gap: time is up."""
        for feed in self._feeds:
            if not feed.ended:
                feed.abandon()
                self._publish_messages([feed])
