"""Scores of takes and of talk, by heads that did not learn from them.

A recording's score for a label is the highest threshold at which its event would fire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from daemon.decide.verification import Verification
from daemon.model.cores import usable_cores
from train.augment import Audio
from train.linear_head import CrossFitted
from train.simulation.offline import SimulationSettings, softmax
from train.words.take_streams import Floats, ScoredTake, peaks
from train.words.thresholds import TAIL
from train.words.verifying import Candidates, Vectors, highest_scores, verified_scores


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to be judged."""

    name: str
    stream: ScoredTake
    sound: Callable[[], Audio]
    """Its samples at 16 kHz, as the stream had them."""
    fold: int = -1
    """The heads without this fold did not learn from it; -1: no head did."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of recordings, shape (recordings, labels)."""

    takes: Mapping[float | None, Floats]
    """By level in decibels over the noise."""
    own: Floats
    """Of what else the user recorded: talk without the words, words that sound alike."""
    talk: Floats
    """Of other people's talk, as the tail of its scores is estimated from."""
    fires: Floats
    """The same, 0 where no event would begin."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Heads of a verifier, and how both posteriors are combined."""

    heads: CrossFitted
    verification: Verification
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Judge:
    """Heads of a model, and of its verifier if it has one."""

    model: CrossFitted
    settings: SimulationSettings
    """With the labels of the heads, of which the first are intents."""
    verifier: Verifier | None = None

    def judge(
        self,
        takes: Mapping[float | None, Sequence[Recording]],
        own: Sequence[Recording],
        talk: Sequence[Recording],
    ) -> Judged:
        """All scores."""
        fires = self.scores(talk)
        return Judged(
            {level: self.scores(found) for level, found in takes.items()},
            self.scores(own),
            np.maximum(fires, self._tail(talk)),
            fires,
        )

    def scores(self, recordings: Sequence[Recording]) -> Floats:
        """The highest thresholds at which events fire, shape (recordings, labels)."""
        rows = [self._score(each) for each in recordings]
        return np.array(rows, np.float32).reshape(-1, len(self.settings.labels))

    def _smoothed(self, each: Recording) -> Floats:
        """Smoothed posteriors, shape (windows, labels)."""
        logits = self.model.of(each.fold).logits(each.stream.embeddings)
        if self.settings.unit == "utterance":
            return each.stream.pooled(logits, self.model.temperature, self.settings)
        probabilities = softmax(logits / self.model.temperature)
        return each.stream.rolling(probabilities, self.settings.rolling.windows)

    def _score(self, each: Recording) -> Floats:
        smoothed = self._smoothed(each)
        if self.verifier is None:
            return peaks(smoothed)
        found = self._candidates(self.verifier, each, smoothed)
        return self._verified(self.verifier, each, found)

    def _candidates(self, verifier: Verifier, each: Recording, smoothed: Floats) -> Candidates:
        least = verifier.verification.candidate
        return Candidates.of(each.stream, smoothed, self._intents, least)

    def ask(self, each: Recording) -> None:
        """Compute the verifier's vectors that `scores` needs, which takes long."""
        if self.verifier is not None:
            windows = self._candidates(self.verifier, each, self._smoothed(each)).windows.tolist()
            self.verifier.vectors.of(each.name, each.sound, windows, self.settings)

    def posteriors(self, each: Recording) -> dict[int, Floats]:
        """The verifier's posteriors by the number of the window.

        Of all windows on which the daemon may ask it: it asks until the value falls below that at
        which an event is over.
        """
        assert self.verifier is not None
        least = self.verifier.verification.candidate * self.settings.events.release
        found = Candidates.of(each.stream, self._smoothed(each), self._intents, least)
        rows = self._posteriors(self.verifier, each, found)
        return dict(zip(found.windows.tolist(), rows, strict=True))

    def _posteriors(self, verifier: Verifier, each: Recording, found: Candidates) -> Floats:
        windows = found.windows.tolist()
        vectors = verifier.vectors.of(each.name, each.sound, windows, self.settings)
        logits = verifier.heads.of(each.fold).logits(vectors)
        return softmax(logits / verifier.heads.temperature)

    def _verified(self, verifier: Verifier, each: Recording, found: Candidates) -> Floats:
        posteriors = self._posteriors(verifier, each, found)
        scores = verified_scores(found, posteriors, verifier.verification)
        return highest_scores(found, scores, len(self.settings.labels))

    def _tail(self, talk: Sequence[Recording]) -> Floats:
        """Scores of the likeliest windows, shape (recordings, labels).

        Whether an event would begin in them or not. The verifier is asked about TAIL recordings
        for each intent.
        """
        intents = self._intents
        tops = np.zeros((len(talk), intents), np.int64)
        values = np.zeros((len(talk), len(self.settings.labels)), np.float32)
        for number, each in enumerate(talk):
            smoothed = np.where(each.stream.open[:, None], self._smoothed(each), 0)
            if len(smoothed):
                tops[number] = smoothed[:, :intents].argmax(axis=0)
                values[number] = smoothed.max(axis=0)
        if self.verifier is None:
            return values
        asked: dict[int, list[int]] = {}
        for label in range(intents):
            for number in np.argsort(-values[:, label])[: TAIL + 1].tolist():
                if values[number, label] > 0:
                    asked.setdefault(number, []).append(label)
        found = np.zeros_like(values)
        for number, labels in asked.items():
            likeliest = Candidates(tops[number, labels], np.array(labels), values[number, labels])
            found[number] = self._verified(self.verifier, talk[number], likeliest)
        return found

    @property
    def _intents(self) -> int:
        return len(self.settings.labels) - len(self.settings.non_intents)


def ask(
    judges: Sequence[Judge],
    recordings: Sequence[Recording],
    threads: int,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Compute the verifier's vectors that `judges` need.

    Of several recordings at once; `threads`: 0: all cores.
    """

    def one(recording: Recording) -> None:
        for judge in judges:
            judge.ask(recording)

    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        for number, _ in enumerate(pool.map(one, recordings)):
            progress(number / len(recordings))
