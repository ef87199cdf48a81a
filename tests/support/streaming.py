"""Streams without a worker, by a model that is a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.capture.ring import Chunk
from daemon.decide import EventSettings
from daemon.messages import Level, Message, Prediction, StreamInfo, Summary
from daemon.stream.segment import Verify
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import DueWindow, Stream
from daemon.vad import GateBank, GateSettings

LABELS = ("low", "mid", "high", "background")
OTHERS = frozenset({"background"})
GATE = GateSettings(kind="energy")
SETUP = StreamSettings(
    LABELS, OTHERS, gate=GATE, events=EventSettings(threshold=0.5, refractory=0.5)
)
ENERGY = GateBank.load(GATE)
Sound = NDArray[np.float32]


def score(window: Sound) -> Sound:
    """Probabilities by the window's pitch and loudness, never twice the same."""
    steps = float(np.abs(np.diff(window)).sum() / (np.abs(window) + 1e-3).sum())
    loud = float(np.sqrt(np.mean(window.astype(np.float64) ** 2)))
    logits = np.array([*(-200 * (steps - np.array([0.15, 0.3, 0.5])) ** 2), 2 - 60 * loud])
    powers = np.exp(logits - logits.max())
    probabilities: Sound = (powers / powers.sum()).astype(np.float32)
    return probabilities


@dataclass
class Lossy:
    """Feeds a recording with gaps to a stream, as the ring would."""

    samples: Sound
    rate: int = RATE
    gaps: Sequence[tuple[int, int, str]] = ()
    """(samples fed before, samples lost, reason)"""
    at: int = 0
    lost: int = 0
    shed: int = 0
    told: list[Chunk] = field(default_factory=list)

    def chunks(self, sizes: Sequence[int]) -> list[Chunk]:
        borders = [at for at, _, _ in self.gaps] + [len(self.samples)]
        losses = {at: (n, why) for at, n, why in self.gaps}
        found, at, turn = [], 0, 0
        while at < len(self.samples) or at in losses:
            n, why = losses.pop(at, (0, ""))
            self.lost += n
            self.shed += n if why == "shed" else 0
            size = sizes[turn % len(sizes)]
            stop = min(at + size, min((b for b in borders if b > at), default=at))
            found.append(self._chunk(at, stop, n, why))
            at, turn = stop, turn + 1
        return found

    def _chunk(self, first: int, last: int, lost: int, reason: str) -> Chunk:
        start = first + self.lost
        return Chunk(
            samples=self.samples[first:last, None],
            start=start,
            block_ends=np.array([start + last - first], np.int64),
            block_arrivals=np.array([(start + last - first) / self.rate]),
            lost=lost,
            reason=reason,
            captured=last + self.shed,
            shed=self.shed,
            never_arrived=self.lost - self.shed,
        )


def make(
    setup: StreamSettings = SETUP,
    rate: int = RATE,
    levels: bool = False,
    verify: Verify | None = None,
) -> Stream:
    bank = ENERGY if setup.gate == GATE else GateBank.load(setup.gate)
    info = StreamInfo("a", rate, 1, live=False)
    return Stream(info, setup, bank, verify=verify, levels=levels)


def turn(streams: Sequence[Stream], batch: int = 1000) -> list[list[Message]]:
    """What the worker does after feeding."""
    streams[0]._gates.run([gate for stream in streams for gate in stream.gates()])
    due: list[tuple[Stream, DueWindow]] = [(s, w) for s in streams for w in s.due()]
    told: list[list[Message]] = [[] for _ in streams]
    for first in range(0, len(due), batch):
        part = due[first : first + batch]
        for (stream, window), row in zip(part, [score(w.samples) for _, w in part], strict=True):
            stream.resolve(window, row, now=window.arrival + 0.01)
        for i, stream in enumerate(streams):
            told[i] += stream.take()
    for i, stream in enumerate(streams):
        told[i] += stream.take()
    return told


def play(
    chunks: Sequence[Chunk],
    setup: StreamSettings = SETUP,
    rate: int = RATE,
    batch: int = 1000,
    verify: Verify | None = None,
) -> list[Message]:
    stream = make(setup, rate, verify=verify)
    messages = []
    for chunk in chunks:
        stream.feed(chunk)
        messages += turn([stream], batch)[0]
    stream.finish()
    messages += turn([stream], batch)[0]
    assert stream.drained
    return [*messages, stream.summary()]


def plain(messages: Sequence[Message]) -> list[object]:
    """Messages without what the clock has a part in, comparable."""
    found: list[object] = []
    for m in messages:
        if isinstance(m, Prediction):
            scores = None if m.scores is None else m.scores.tolist()
            found.append(("p", m.start, m.end, m.gated, scores, m.rolling.tolist()))
        elif isinstance(m, Summary):
            found.append(replace(m, latency_p50_ms=None, latency_p99_ms=None))
        elif not isinstance(m, Level):
            found.append(m)
    return found
