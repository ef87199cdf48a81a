"""Stages of training on own words: one progress bar with the time left."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

VOICES, PACK, COPIES = "other voices", "the pack of other people", "copies of the takes"
SENTENCES, TAKES = "copies of the sentences", "takes in noise"
VERIFIER_PACK, VERIFIER_COPIES = "the pack, for the verifier", "copies, for the verifier"
HEADS, THRESHOLDS, STRANGERS = "heads", "thresholds", "the words by strangers"
OF_MODEL = {VOICES: 2.0, PACK: 90.0, COPIES: 8.0, SENTENCES: 60.0, TAKES: 25.0}
"""Seconds of each stage, roughly, on two cores for three words with ten takes."""
OF_VERIFIER = {VERIFIER_PACK: 90.0, VERIFIER_COPIES: 25.0}
"""Of those beside them, the same."""
AFTER = {HEADS: 5.0, THRESHOLDS: 35.0, STRANGERS: 8.0}
"""Of those after both, the same."""


class Stages:
    """One bar for all stages, some of which run beside each other.

    Any thread may advance it. A stage that is passed over, since its result was in the cache,
    counts for nothing.
    """

    def __init__(self, progress: Progress, seconds: Mapping[str, float]) -> None:
        """`seconds`: of the stages that are to come, in order."""
        self._progress = progress
        self._task = progress.add_task("", total=sum(seconds.values()))
        self._seconds = dict(seconds)
        self._done: dict[str, float] = {}
        self._lock = threading.Lock()

    def say(self, what: str, share: float) -> None:
        """Tell that `share` of a stage is done; those before it are."""
        with self._lock:
            for stage in _before(what):
                if stage in self._done:
                    self._done[stage] = 1.0
                else:
                    self._seconds.pop(stage, None)
            self._done[what] = share
            done = sum(self._seconds[stage] * share for stage, share in self._done.items())
            beside = what in OF_VERIFIER and self._done.get(TAKES, 0.0) < 1
            self._progress.update(
                self._task,
                completed=done,
                total=sum(self._seconds.values()),
                description=None if beside else what,
            )


def stages(sentences: bool, voices: bool, verifier: bool) -> dict[str, float]:
    """Stages to come, with their seconds.

    `sentences`: utterances in place of words.
    """
    absent = {COPIES if sentences else SENTENCES}
    absent |= set() if voices else {VOICES, STRANGERS}
    absent |= set() if verifier else set(OF_VERIFIER)
    everything = {**OF_MODEL, **OF_VERIFIER, **AFTER}
    return {stage: seconds for stage, seconds in everything.items() if stage not in absent}


def bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
    )


def _before(what: str) -> list[str]:
    """Stages that are over when `what` begins."""
    for lane in (OF_MODEL, OF_VERIFIER):
        if what in lane:
            return list(lane)[: list(lane).index(what)]
    return [*OF_MODEL, *OF_VERIFIER, *list(AFTER)[: list(AFTER).index(what)]]
