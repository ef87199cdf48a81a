"""Speech intervals from probabilities of chunks, one gate a segment."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.config.settings import GateSettings
from daemon.vad.detector import CHUNK, Detector
from daemon.vad.load import load_detector

_LARGEST_BATCH: Final = 128


class Coverage(enum.Enum):
    """Decision of the gate on a span of samples."""

    SPEECH = "speech"
    GATED = "gated"
    UNDECIDED = "undecided"


@dataclass(slots=True)
class _Span:
    """Samples of speech: an interval, or chunks of it without a pause."""

    interval: int
    """Number of the interval, from 1."""
    start: int
    end: int


class Gate:
    """The gate of one segment: samples to intervals of speech.

    All positions are samples at 16 kHz from the segment's start. Speech begins with a chunk at or
    above `on` and lasts until chunks have stayed below `off` for `min_silence`; its interval
    reaches from `pre_roll` before the first chunk to the end of the last chunk at or above `off`.
    Decisions do not depend on the blocks that the samples come in.
    """

    def __init__(self, settings: GateSettings, state: object = None) -> None:
        self._settings = settings
        self._pre_roll = round(settings.pre_roll * RATE)
        self._min_silence = settings.min_silence * RATE
        self._queue = np.zeros(0, dtype=np.float32)
        self._taken = 0  # samples of _queue that have a probability or await one
        self._intervals: deque[_Span] = deque()  # with pre-roll
        self._runs: deque[_Span] = deque()  # without, and without pauses
        self._oldest = 0  # speech before is forgotten
        self._count = 0
        self._speaking = False
        self._silence = 0
        self._finished = False
        self.state = state
        """The detector's state of this stream."""
        self.scored = 0
        """Samples whose probabilities are known."""
        self.opened = 0
        """Where the chunk ends with which speech began the last time."""

    # ---- samples in, probabilities in ----------------------------------------------------------

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Queue samples, shape (n,)."""
        rest = self._queue[self._taken :]
        self._queue = np.concatenate((rest, samples)) if len(rest) else np.array(samples)
        self._taken = 0

    def finish(self) -> None:
        """No more samples will come: the last chunk is filled with zeros."""
        rest = (len(self._queue) - self._taken) % CHUNK
        if rest:
            self.feed(np.zeros(CHUNK - rest, dtype=np.float32))
        self._finished = True

    @property
    def pending(self) -> int:
        """Number of chunks without a probability."""
        return (len(self._queue) - self._taken) // CHUNK

    @property
    def missing(self) -> int:
        """Samples that the next chunk lacks."""
        return CHUNK - (len(self._queue) - self._taken) % CHUNK

    def next_chunk(self) -> NDArray[np.float32]:
        """The oldest waiting chunk, shape (512,).

        Its probability must be given to `update`.
        """
        chunk = self._queue[self._taken : self._taken + CHUNK]
        self._taken += CHUNK
        return chunk

    def update(self, probability: float) -> None:
        """The probability of the next chunk, in order."""
        start, end = self.scored, self.scored + CHUNK
        self.scored = end
        if not self._speaking:
            if probability < self._settings.on:
                return
            self._speaking = True
            self._count += 1
            self.opened = end
            self._intervals.append(_Span(self._count, max(0, start - self._pre_roll), end))
        elif probability < self._settings.off:
            self._silence += CHUNK
            self._speaking = self._silence < self._min_silence
            return
        self._silence = 0
        self._intervals[-1].end = end
        last = self._runs[-1] if self._runs else None
        if last is not None and last.interval == self._count and last.end == start:
            last.end = end
        else:
            self._runs.append(_Span(self._count, start, end))

    # ---- decisions -----------------------------------------------------------------------------

    @property
    def speaking(self) -> bool:
        """Whether speech was going on at the last chunk with a probability."""
        return self._speaking

    def covers(self, start: int, end: int) -> Coverage:
        """Whether there is speech in [start, end).

        Undecided until probabilities reach up to `end` plus the pre-roll, and while a pause may
        yet turn out to be part of the speech around it.
        """
        if any(span.start < end and span.end > start for span in self._intervals):
            return Coverage.SPEECH
        if self._finished and not self.pending:
            return Coverage.GATED
        if self.scored < end + self._pre_roll:
            return Coverage.UNDECIDED
        if self._speaking and start >= self._intervals[-1].end:
            return Coverage.UNDECIDED
        return Coverage.GATED

    def speech_within(
        self, start: int, end: int, core: tuple[int, int] | None = None
    ) -> tuple[int, int] | None:
        """First to last chunk of speech in [start, end), without pre-roll.

        As known at `end`; None if there is none.

        With `core`, a span inside, only speech that reaches into it counts, if there is such.
        Chunks that end after `end` are left out, so that the answer is the same whether or not
        later probabilities are known by now.
        """
        runs = self._runs_within(start, end)
        if core is not None:
            inside = {i for i, a, b in runs if a < core[1] and b > core[0]}
            runs = [run for run in runs if not inside or run[0] in inside]
        if not runs:
            return None
        return runs[0][1], runs[-1][2]

    def utterance(self, start: int, end: int) -> int:
        """Number of the latest interval of speech in [start, end), from 1.

        As known at `end`; where only a pre-roll reaches into it, of the first that does. 0 for
        none.
        """
        runs = self._runs_within(start, end)
        if runs:
            return runs[-1][0]
        reach = (s.interval for s in self._intervals if s.start < end and s.end > start)
        return next(reach, 0)

    def _runs_within(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Speech in [start, end) by chunks that end there.

        Each: (interval, first, last).
        """
        known = min(self.scored, end // CHUNK * CHUNK)
        start = max(start, self._oldest)  # runs that lie across it are still held
        return [
            (run.interval, max(run.start, start), min(run.end, known))
            for run in self._runs
            if max(run.start, start) < min(run.end, known)
        ]

    def forget(self, spans_before: int, speech_before: int) -> None:
        """Drop spans and speech before the given positions.

        `covers` will not be called for spans that start before the one, nor `speech_within` for
        speech before the other.
        """
        while len(self._intervals) > 1 and self._intervals[0].end <= spans_before:
            self._intervals.popleft()
        self._oldest = max(self._oldest, speech_before)
        while self._runs and self._runs[0].end <= self._oldest:
            self._runs.popleft()


class OpenGate(Gate):
    """A gate that lets everything pass."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        self.scored += len(samples)

    @property
    def speaking(self) -> bool:
        return True

    def covers(self, start: int, end: int) -> Coverage:
        return Coverage.SPEECH

    def speech_within(
        self, start: int, end: int, core: tuple[int, int] | None = None
    ) -> tuple[int, int] | None:
        return None

    def utterance(self, start: int, end: int) -> int:
        return 1


class GateBank:
    """Makes the gates of all streams, and runs their detector in batches."""

    def __init__(self, settings: GateSettings, detector: Detector | None = None) -> None:
        """`detector` is needed unless the kind is "off"; `GateBank.load` finds it.

        ValueError if `off` lies above `on`.
        """
        if settings.off > settings.on:
            raise ValueError("gate.off must not lie above gate.on")
        if settings.kind == "off":
            detector = None
        elif detector is None:
            raise ValueError("a gate that is not off needs a detector")
        self.settings = settings
        self._detector = detector

    @classmethod
    def load(cls, settings: GateSettings) -> GateBank:
        """Build it with the detector that `settings.kind` names.

        Raises: UserError if it can't run here.
        """
        return cls(settings, load_detector(settings.kind))

    def new_gate(self) -> Gate:
        """A gate for a segment that begins."""
        if self._detector is None:
            return OpenGate(self.settings)
        return Gate(self.settings, self._detector.new_state())

    def run(self, gates: Sequence[Gate]) -> None:
        """Give these gates the probabilities of all chunks that they hold.

        Those of one gate do not depend on the others, but for rounding below 1e-5.
        """
        if self._detector is None:
            return
        waiting = [gate for gate in gates for _ in range(gate.pending)]
        for first in range(0, len(waiting), _LARGEST_BATCH):
            batch = waiting[first : first + _LARGEST_BATCH]
            chunks = np.stack([gate.next_chunk() for gate in batch])
            found = self._detector.probabilities(chunks, [gate.state for gate in batch])
            for gate, probability in zip(batch, found.tolist(), strict=True):
                gate.update(probability)
