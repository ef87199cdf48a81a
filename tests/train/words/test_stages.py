"""The progress bar of training on own words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from train.words.stages import (
    AFTER,
    COPIES,
    HEADS,
    OF_MODEL,
    OF_VERIFIER,
    PACK,
    STRANGERS,
    TAKES,
    VERIFIER_COPIES,
    VERIFIER_PACK,
    Stages,
    bar,
    stages,
)


@pytest.fixture
def progress() -> Progress:
    return bar(Console(file=io.StringIO()))


def share_done(progress: Progress) -> float:
    task = progress.tasks[0]
    assert task.total
    return task.completed / task.total


def test_stages_beside_each_other_add_up(progress: Progress) -> None:
    seconds = stages(sentences=False, voices=False, verifier=True)
    say = Stages(progress, seconds).say
    total = sum(seconds.values())
    say(PACK, 0.5)
    say(VERIFIER_PACK, 0.5)
    half = (OF_MODEL[PACK] + OF_VERIFIER[VERIFIER_PACK]) / 2 / total
    assert share_done(progress) == pytest.approx(half)
    assert progress.tasks[0].description == PACK
    say(TAKES, 1.0)
    say(VERIFIER_COPIES, 0.0)
    assert progress.tasks[0].description == VERIFIER_COPIES
    say(HEADS, 0.0)  # the copies, which it passed over, are not to come any more
    left = sum(AFTER[stage] for stage in AFTER if stage != STRANGERS)
    assert share_done(progress) == pytest.approx(1 - left / (total - OF_MODEL[COPIES]))


def test_what_was_in_the_cache_counts_for_nothing(progress: Progress) -> None:
    seconds = stages(sentences=False, voices=False, verifier=True)
    say = Stages(progress, seconds).say
    say(COPIES, 0.5)
    left = sum(seconds.values()) - OF_MODEL[PACK]
    assert share_done(progress) == pytest.approx(0.5 * OF_MODEL[COPIES] / left)
    say(VERIFIER_COPIES, 0.0)
    left -= OF_VERIFIER[VERIFIER_PACK]
    assert share_done(progress) == pytest.approx(0.5 * OF_MODEL[COPIES] / left)


def test_only_stages_that_come() -> None:
    assert set(OF_VERIFIER).isdisjoint(stages(sentences=True, voices=False, verifier=False))
    assert STRANGERS not in stages(sentences=False, voices=False, verifier=True)
