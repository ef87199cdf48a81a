"""Finds takes in a stream by the daemon's speech gate. Pure.

No key has to be pressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.vad import CHUNK, GateBank, GateSettings

MARGIN = 0.25
"""Seconds kept before and after the speech."""
PAUSE = 0.45
"""Seconds of silence that end a take."""
LONGEST = 15.0
"""Seconds after which a take is ended where it is."""

Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Speech with a margin around it, 16 kHz mono."""

    samples: Audio
    speech: tuple[int, int]
    """Where in `samples` the speech is."""
    start: int
    """Of `samples` in the stream."""

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return (self.speech[1] - self.speech[0]) / RATE


class TakeFinder:
    """Feed samples at 16 kHz, get takes."""

    def __init__(self, bank: GateBank | None = None) -> None:
        """`bank`: whose gate finds speech; None: Silero's with the pause of takes."""
        self._bank = bank or GateBank.load(GateSettings(min_silence=PAUSE, pre_roll=MARGIN))
        self.noise_floor: float | None = None
        """RMS of the latest chunks without speech, None before the first."""
        self.restart()

    def restart(self) -> None:
        """As if nothing had been heard; what is being said is passed over."""
        self._gate = self._bank.new_gate()
        self._samples = np.zeros(0, np.float32)
        self._base = 0  # position of _samples[0]
        self._start = 0  # of the speech that goes on
        self._queue = np.zeros(0, np.float32)

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking."""
        return self._gate.speaking

    def feed(self, samples: Audio) -> Iterator[Found]:
        """Samples, shape (n,); the takes that end with them."""
        self._queue = np.concatenate([self._queue, samples])
        while len(self._queue) >= CHUNK:
            chunk, self._queue = self._queue[:CHUNK], self._queue[CHUNK:]
            yield from self._step(chunk)

    def flush(self) -> Iterator[Found]:
        """The stream has ended; the take that it ended in, if any."""
        silence = np.zeros(round((PAUSE + MARGIN) * RATE) + 2 * CHUNK, np.float32)
        yield from self.feed(silence)

    def _step(self, chunk: Audio) -> Iterator[Found]:
        spoke = self._gate.speaking
        self._samples = np.concatenate([self._samples, chunk])
        self._gate.feed(chunk)
        self._bank.run([self._gate])
        if not spoke and not self._gate.speaking:
            self._note_noise(chunk)
        if self._gate.speaking:
            start = self._gate.opened - CHUNK if not spoke else self._start
            self._start = start
            if self._gate.scored - start > LONGEST * RATE:
                yield self._take(start, self._gate.scored)
                self.restart()
        elif spoke:
            within = self._gate.speech_within(self._start, self._gate.scored)
            if within is not None:
                yield self._take(*within)
        self._forget()

    def _take(self, start: int, end: int) -> Found:
        margin = round(MARGIN * RATE)
        first = max(self._base, start - margin)
        last = min(self._base + len(self._samples), end + margin)
        samples = self._samples[first - self._base : last - self._base].copy()
        return Found(samples, (start - first, end - first), first)

    def _forget(self) -> None:
        if self._gate.speaking:
            return
        surplus = len(self._samples) - 2 * RATE
        if surplus > RATE:
            self._samples = self._samples[surplus:]
            self._base += surplus
            self._gate.forget(self._base, self._base)

    def _note_noise(self, chunk: Audio) -> None:
        level = float(np.sqrt(np.mean(np.square(chunk, dtype=np.float64))))
        before = self.noise_floor
        self.noise_floor = level if before is None else 0.9 * before + 0.1 * level
