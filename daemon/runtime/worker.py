"""The one worker: takes sound from all rings, classifies together what is due, tells the outputs.

It waits on one wake-up call that every ring sets, and never spins. What it holds for each stream
is bounded: live, a ring that the worker can't keep up with is shed down to its newest second, all
at once, since one long gap leaves more windows whole than many short ones; a replay's feeder waits.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.decide import EventSettings
from daemon.messages import Event, Message, Prediction, Status
from daemon.runtime.adaptive_hop import Widening
from daemon.stream.stream import DueWindow, Stream
from daemon.vad import GateBank

PATIENCE = 0.5
"""Seconds the worker waits at most before it looks around, should a wake-up call get lost."""
KEEP_SECONDS = 1.0
"""Of a live ring that is shed, what stays."""
REPEAT_SECONDS = 10.0
"""How often the same warning comes back while its cause lasts."""
LOAD_SECONDS = 10.0
"""Time constant over which the load is averaged."""


class Classifies(Protocol):
    """What the worker asks of a model."""

    def classify(self, windows: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Probabilities, shape (n, labels), of windows of shape (n, samples) at 16 kHz."""
        ...


def time_of_day() -> str:
    """This moment in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Publishes(Protocol):
    """What the worker asks of the outputs."""

    def __call__(self, *messages: Message) -> None:
        """Tell these, in order."""
        ...


@dataclass(slots=True)
class Track:
    """One stream with the ring that feeds it."""

    stream: Stream
    ring: Ring
    heard_all: bool = False
    """The ring has given everything it will ever give."""
    ended: bool = False
    """The summary has been told."""
    heard_at: float | None = None
    """When the newest sound arrived that was processed, in the worker's clock."""

    @property
    def live(self) -> bool:
        return self.stream.info.live

    @property
    def waiting(self) -> float:
        """Seconds of sound in the ring; 0 where it is too little to be worth a turn."""
        return self.ring.unread / self.ring.rate if self.ring.called else 0.0

    def await_sound(self) -> None:
        """Have the ring call the worker once there is something to say."""
        missing = self.stream.missing
        self.ring.await_frames(missing.samples, missing.samples_if_loud, missing.loud)


class Worker:
    """Does the work of `run` in a thread of its own; other threads may look, drain and abandon.

    max_batch: windows classified at once, at most.
    hop: seconds from window to window.
    lag_warning: seconds behind live sound that deserve a warning.
    lag_limit: seconds of live sound that may wait before the oldest is shed.
    widest_hop: up to where the hop widens while live sound can't be kept up with; 0: never.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        classifier: Classifies,
        gates: GateBank,
        publish: Publishes,
        wake: Wake,
        *,
        max_batch: int,
        hop: float,
        lag_warning: float,
        lag_limit: float,
        widest_hop: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tracks = list(tracks)
        self._classifier = classifier
        self._gates = gates
        self._publish = publish
        self._wake = wake
        self._max_batch = max_batch
        self._hop = hop
        self.lag_warning = lag_warning
        self._lag = LagWatch(lag_warning)
        self._lag_limit = lag_limit
        self._clock = clock
        self._load = Load()
        self._begun = clock()
        self._deadline: float | None = None
        self._abandoned = False
        self._latency = 0.0
        self._widest_hop = widest_hop
        self._widening = Widening(hop, widest_hop)
        self._orders: deque[Callable[[], None]] = deque()
        self._adopted = False  # which may have made windows due without more sound
        self.processed = 0
        """Source samples that were taken from the rings and dealt with, shed ones aside."""
        self.windows = 0
        """Windows told of so far, gated ones included."""
        self.busy_since: float | None = None
        """Since when the model has been at work on one batch; None between batches."""
        self.finished = False
        """All streams have ended, and their summaries have been told."""
        self.turned_at = self._begun
        """When the worker last began a turn, in its clock: twice a second, if it is well."""

    # ---- for other threads ----------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        """The rings are about to be finished: process what they hold until `deadline` of the
        clock, and give up the rest."""
        self._deadline = deadline
        self._wake.set()

    def abandon(self) -> None:
        """Return as soon as the present batch is done, and say nothing more."""
        self._abandoned = True
        self._wake.set()

    def adopt(self, *, hop: float, events: EventSettings, lag_warning: float) -> None:
        """Other settings, from the worker's next turn on; see `Stream.adopt`."""

        def obey() -> None:
            for track in self._tracks:
                if not track.heard_all:
                    track.stream.adopt(hop=hop, events=events)
            self._adopted = True
            self._hop = hop
            self._widening = Widening(hop, self._widest_hop)
            if lag_warning != self.lag_warning:
                self.lag_warning = lag_warning
                self._lag = LagWatch(lag_warning)

        self._orders.append(obey)
        self._wake.set()

    @property
    def tracks(self) -> Sequence[Track]:
        """All streams, to be looked at."""
        return self._tracks

    @property
    def lag(self) -> float:
        """Seconds from the arrival of live sound to now, for the oldest that is not done."""
        going = [track.waiting for track in self._tracks if track.live and not track.ended]
        return max(*going, self._latency) if going else 0.0

    @property
    def load(self) -> float | None:
        """Seconds of work for a second of sound, lately; None while that is not known."""
        return self._load.value

    def status_line(self) -> str:
        """Uptime, streams, windows, load and waiting sound in one line."""
        going = sum(not track.ended for track in self._tracks)
        waiting = max((track.waiting for track in self._tracks), default=0.0)
        load = "unknown" if self.load is None else f"{self.load:.3f}"
        return (
            f"up {self._clock() - self._begun:.0f} s, {going} of {len(self._tracks)} streams going"
            f", {self.windows} windows, {load} s of work for a second of sound"
            f", {waiting:.2f} s of sound waiting"
        )

    # ---- the worker's thread --------------------------------------------------------------------

    def run(self) -> None:
        """Work until every stream has ended. Raises whatever goes wrong."""
        while not self._abandoned:
            if self._deadline is not None and self._clock() >= self._deadline:
                self._give_up()
            self.turned_at = self._clock()
            self.step()
            if all(track.ended for track in self._tracks):
                self.finished = True
                return
            if not self._more():
                patience = PATIENCE
                if self._deadline is not None:
                    patience = min(patience, max(0.0, self._deadline - self._clock()))
                self._wake.wait(patience)

    def _more(self) -> bool:
        """Whether a ring holds something to work on; if none does, the first that does wakes."""
        return self._adopted or any(
            track.ring.called for track in self._tracks if not track.heard_all
        )

    def step(self) -> None:
        """One turn for every stream with sound enough to say something."""
        while self._orders:
            self._orders.popleft()()
        begun = self._clock()
        going = [track for track in self._tracks if not track.ended]
        busy, self._adopted = self._adopted, False
        turn = [track for track in going if busy or track.ring.called]
        # What fills one batch: more at once would only make the first of it wait.
        seconds = self._hop * max(1.0, self._max_batch / max(1, len(going)))
        heard, taken = 0.0, 0
        newest: list[tuple[Track, float]] = []
        for track in turn:
            if track.live:
                self._shed(track)
            chunk = track.ring.read(max(1, round(seconds * track.ring.rate)))
            if chunk is not None:
                track.stream.feed(chunk)
                heard += len(chunk.samples) / track.ring.rate
                taken += len(chunk.samples)
                if len(chunk.samples):
                    newest.append((track, chunk.arrival(chunk.end - 1)))
                busy = True
            elif track.ring.finished and not track.heard_all:
                track.stream.finish()
                track.heard_all = busy = True
        if busy:
            self._gates.run([gate for track in turn for gate in track.stream.gates()])
            self._classify([(track, window) for track in turn for window in track.stream.due()])
            self._tell(turn)
        for track in turn:
            track.await_sound()
        if not busy:
            return
        for track, arrival in newest:
            track.heard_at = arrival
        self.processed += taken
        now = self._clock()
        self._load.add(now - begun, heard, now)
        self._look_at_lag(going, now)

    def _classify(self, due: Sequence[tuple[Track, DueWindow]]) -> None:
        for first in range(0, len(due), self._max_batch):
            batch = due[first : first + self._max_batch]
            if self._abandoned or (self._deadline is not None and self._clock() >= self._deadline):
                return
            self.busy_since = self._clock()
            scores = self._classifier.classify(np.stack([window.samples for _, window in batch]))
            now = self._clock()
            self._widening.classified(now - self.busy_since, len(batch))
            self.busy_since = None
            for (track, window), row in zip(batch, scores, strict=True):
                track.stream.resolve(window, row, now)
            self._tell({id(track): track for track, _ in batch}.values())

    def _tell(self, tracks: Iterable[Track]) -> None:
        """Publish what these streams have to say, at once: the outputs' threads are woken once."""
        said = [message for track in tracks for message in self._said_by(track)]
        if said:
            self._publish(*said)

    def _said_by(self, track: Track) -> Iterator[Message]:
        for message in track.stream.take():
            if isinstance(message, Prediction):
                self.windows += 1
                if track.live:
                    self._latency = (message.latency_ms or 0.0) / 1000  # silence costs nothing
            elif isinstance(message, Event) and track.live:
                message = replace(message, at=time_of_day())  # noqa: PLW2901
            yield message
        if track.heard_all and track.stream.drained and not track.ended:
            counts = track.ring if track.ring.finished else None  # still written: can't be compared
            yield track.stream.summary(counts)
            track.ended = True

    # ---- too slow -------------------------------------------------------------------------------

    def _shed(self, track: Track) -> None:
        rate = track.ring.rate
        if track.ring.unread > self._lag_limit * rate:
            track.ring.shed_to(round(KEEP_SECONDS * rate))

    def _look_at_lag(self, going: Sequence[Track], now: float) -> None:
        if any(track.live for track in going):
            status = self._lag.look(self.lag, now)
            if status is not None:
                self._publish(status)
            hop = self._widening.look(self.lag, self.lag_warning, len(going), now)
            if hop is not None:
                self._change_hop(going, hop)

    def _change_hop(self, going: Sequence[Track], hop: float) -> None:
        wider = hop > self._hop
        self._hop = hop
        for track in going:
            track.stream.adopt(hop=hop)
        self._adopted = True
        why = "so that the model keeps up" if wider else "since the model keeps up again"
        self._publish(Status(None, f"a window comes every {1000 * hop:.0f} ms now, {why}"))

    # ---- the end --------------------------------------------------------------------------------

    def _give_up(self) -> None:
        """Time is up: what is still unclassified is counted as shed and told of as a gap."""
        for track in self._tracks:
            if track.ended:
                continue
            while not track.heard_all:
                chunk = track.ring.read(track.ring.capacity)
                if chunk is None:
                    track.heard_all = True
                else:
                    track.stream.feed(chunk)
            track.stream.finish()
            track.stream.abandon()
            self._tell([track])


class LagWatch:
    """Says when the worker falls behind live sound, now and then how far, and when it is back."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._said_at: float | None = None

    def look(self, lag: float, now: float) -> Status | None:
        """`lag`: seconds from the arrival of sound to now, for the oldest that is not done."""
        if lag >= self._limit:
            if self._said_at is None or now - self._said_at >= REPEAT_SECONDS:
                self._said_at = now
                return Status(
                    None,
                    f"the model is too slow for the sound, {lag:.1f} s behind: use a smaller "
                    "model, a longer window.hop, or another model.backend",
                    "warning",
                )
        elif self._said_at is not None and lag < self._limit / 2:
            self._said_at = None
            return Status(None, "the model has caught up with the sound")
        return None


class Load:
    """Seconds of work for a second of sound, over the last seconds (exponentially weighted)."""

    def __init__(self) -> None:
        self._work = 0.0
        self._sound = 0.0
        self._at: float | None = None

    def add(self, work: float, sound: float, now: float) -> None:
        """`work` seconds were spent on `sound` seconds, until `now`."""
        if self._at is not None:
            fade = math.exp(-max(0.0, now - self._at) / LOAD_SECONDS)
            self._work *= fade
            self._sound *= fade
        self._at = now
        self._work += work
        self._sound += sound

    @property
    def value(self) -> float | None:
        """None before a quarter of a second of sound was heard."""
        return self._work / self._sound if self._sound >= 0.25 else None
