"""Which windows hold speech: intervals from the speech probabilities of small chunks.

A chunk is 512 samples at 16 kHz (32 ms), on a grid that begins with the segment. Speech begins
when a chunk reaches `on` and ends once chunks have stayed below `off` for `min_silence` seconds;
the interval runs from the first chunk less the pre-roll to the end of the last chunk at or above
`off`. This is the hysteresis that Silero's own `VADIterator` uses.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
CHUNK = 512

Kind = Literal["silero", "energy", "off"]
Mono = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GateSettings:
    kind: Kind = "silero"
    """Who tells speech from silence."""
    on: float = 0.5
    """Probability at which speech begins."""
    off: float = 0.35
    """Probability below which it may end."""
    min_silence: float = 0.3
    """Seconds below `off` that end it."""
    pre_roll: float = 0.3
    """Seconds before the beginning that still count as speech."""


class Verdict(enum.Enum):
    SPEECH = "speech"
    SILENCE = "silence"
    UNDECIDED = "undecided"


class SpeechModel(Protocol):
    """Gives each chunk a probability of speech; keeps a state for each stream."""

    def new_state(self) -> object: ...

    def run(self, states: Sequence[object], chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, shape (n,), of one chunk each of n streams, shape (n, 512); updates the
        states in place. A stream's result does not depend on the others."""
        ...


@dataclass(slots=True)
class _Interval:
    start: int
    """With the pre-roll."""
    onset: int
    """Without it."""
    end: int
    utterance: int


class Gate:
    """The speech intervals of one segment, in 16 kHz samples from its beginning.

    Fed with samples; whoever owns the model takes chunks with `pending`/`take` and gives back
    probabilities with `hear` (see `GateBank`). `model` None means that everything is speech.
    """

    def __init__(self, settings: GateSettings, model: SpeechModel | None) -> None:
        self.settings = settings
        self.model = model
        self.state = model.new_state() if model is not None else None
        self._pre_roll = round(settings.pre_roll * RATE)
        self._min_silence = round(settings.min_silence * RATE)
        self._waiting: deque[Mono] = deque()
        self._offset = 0  # samples of the first waiting array already taken
        self._samples = 0
        self._heard = 0  # samples that have a probability
        self._ended = False
        self._intervals: deque[_Interval] = deque()
        self._open = False
        self._count = 0  # utterances so far
        self._latest: deque[int] = deque()  # for each chunk heard: where speech had last ended
        self._forgotten = 0  # chunks dropped from the front of it

    def feed(self, samples: Mono) -> None:
        """Add mono samples at 16 kHz. They are kept, not copied."""
        self._samples += len(samples)
        if self.model is not None and len(samples):
            self._waiting.append(samples)

    def end(self) -> None:
        """The segment has ended: the last, incomplete chunk is padded with zeros."""
        self._ended = True

    @property
    def pending(self) -> int:
        """Chunks that wait for a probability."""
        if self.model is None:
            return 0
        left = self._samples - self._heard
        if left <= 0:
            return 0
        return -(-left // CHUNK) if self._ended else left // CHUNK

    def take(self, out: NDArray[np.float32]) -> None:
        """Copy the next chunk into `out`, shape (512,)."""
        filled = 0
        while filled < CHUNK and self._waiting:
            head = self._waiting[0]
            n = min(CHUNK - filled, len(head) - self._offset)
            out[filled : filled + n] = head[self._offset : self._offset + n]
            filled += n
            self._offset += n
            if self._offset == len(head):
                self._waiting.popleft()
                self._offset = 0
        out[filled:] = 0.0

    def hear(self, probability: float) -> None:
        """The probability of speech, 0 to 1, of the next chunk."""
        start = self._heard
        end = min(start + CHUNK, self._samples)
        self._heard = start + CHUNK if not self._ended else end
        if self._open:
            interval = self._intervals[-1]
            if probability >= self.settings.off:
                interval.end = end
            elif end - interval.end >= self._min_silence:
                self._open = False
        elif probability >= self.settings.on:
            self._open = True
            first = max(0, start - self._pre_roll)
            previous = self._intervals[-1].end if self._intervals else 0
            self._count += 1
            self._intervals.append(_Interval(max(first, previous), start, end, self._count))
        self._latest.append(self._intervals[-1].end if self._intervals else 0)

    def judge(self, start: int, end: int) -> Verdict:
        """Whether samples [start, end) overlap speech; UNDECIDED until enough was heard."""
        if self.model is None:
            return Verdict.SPEECH
        if any(i.start < end and i.end > start for i in self._intervals):
            return Verdict.SPEECH
        reach = end + self._pre_roll
        if self._ended:
            reach = min(reach, self._samples)
        # A pause in speech that has not ended yet may still turn out to belong to it.
        paused = self._open and self._intervals[-1].end <= start and self._heard < self._samples
        return Verdict.SILENCE if self._heard >= reach and not paused else Verdict.UNDECIDED

    def speech(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last sample of the speech within [start, end), pre-roll left out; None if there
        is none.

        What was heard after `end` does not change the answer, so it does not depend on when it is
        asked for.
        """
        if self.model is None:
            stop = min(end, self._samples)
            return (start, stop) if stop > start else None
        heard, latest = self._as_of(end)
        first = last = None
        for interval in self._intervals:
            stop = min(interval.end, latest)
            if interval.onset < heard and stop > start:
                first = max(start, interval.onset) if first is None else first
                last = min(end, stop)
        return None if first is None or last is None else (first, last)

    def utterance(self, start: int, end: int) -> int:
        """Number of the last utterance heard within [start, end), counted from 1; where only a
        pre-roll reaches into it, of the first that does; 0 for none. As timeless as `speech`."""
        if self.model is None:
            return 1
        heard, latest = self._as_of(end)
        number = 0
        for interval in self._intervals:
            if interval.onset < heard and min(interval.end, latest) > start:
                number = interval.utterance
            elif not number and interval.start < end and interval.end > start:
                return interval.utterance
        return number

    def _as_of(self, end: int) -> tuple[int, int]:
        """Samples heard by the time of sample `end`, and where speech had last ended by then."""
        chunks = end // CHUNK if end <= self._samples else -(-self._samples // CHUNK)
        if chunks == 0:
            return 0, 0
        return chunks * CHUNK, self._latest[chunks - 1 - self._forgotten]

    @property
    def speaking(self) -> bool:
        """Whether the last chunk heard belongs to speech."""
        return self.model is None or self._open

    def forget(self, before: int) -> None:
        """Nothing before sample `before` is asked for any more."""
        while len(self._latest) > 1 and (self._forgotten + 1) * CHUNK < before:
            self._latest.popleft()
            self._forgotten += 1
        while len(self._intervals) > 1 and self._intervals[0].end <= before:
            self._intervals.popleft()


class GateBank:
    """Runs the gates of many streams, one chunk of each at a time."""

    def __init__(self, model: SpeechModel | None) -> None:
        self.model = model

    def run(self, gates: Sequence[Gate]) -> None:
        """Give every pending chunk of `gates` its probability."""
        if self.model is None:
            return
        while True:
            due = [gate for gate in gates if gate.pending]
            if not due:
                return
            chunks = np.empty((len(due), CHUNK), np.float32)
            for row, gate in zip(chunks, due, strict=True):
                gate.take(row)
            probabilities = self.model.run([gate.state for gate in due], chunks)
            for gate, probability in zip(due, probabilities, strict=True):
                gate.hear(float(probability))


def speech_model(kind: Kind) -> SpeechModel | None:
    """The model behind a kind of gate; None for "off". Imports it only when it is asked for."""
    if kind == "silero":
        from daemon.windowing.silero import Silero

        return Silero()
    if kind == "energy":
        from daemon.windowing.energy import Energy

        return Energy()
    return None
