"""The verdict on a whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.decide import VerdictKeeper, log_floored, pool

LABELS = ("up", "down", "unknown", "background")
OTHERS = frozenset({"unknown", "background"})


def scores(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_words_count_by_the_highest_they_reached() -> None:
    keeper = VerdictKeeper(LABELS, OTHERS, "word", 0.24)
    keeper.update(scores(0.2, 0.1, 0.1, 0.6), scores(0.3, 0.1, 0.1, 0.5))
    keeper.update(scores(0.9, 0.0, 0.1, 0.0), scores(0.7, 0.2, 0.1, 0.0))
    keeper.update(None, scores(0.4, 0.1, 0.0, 0.0))
    top = keeper.top()
    assert [verdict.intent for verdict in top] == ["up", "background", "down", "unknown"]
    # background has the higher mean of the non-intents: it takes what "up" leaves
    assert [verdict.score for verdict in top] == pytest.approx([0.7, 0.3, 0.2, 0.1])


def test_other_non_intents_are_capped() -> None:
    keeper = VerdictKeeper(LABELS, OTHERS, "word", 0.24)
    keeper.update(scores(0, 0, 0.45, 0.55), scores(0.9, 0.0, 0.0, 0.0))
    shares = {verdict.intent: verdict.score for verdict in keeper.top()}
    assert shares["background"] == pytest.approx(0.1)
    assert shares["unknown"] == pytest.approx(0.1)


def test_a_recording_without_a_command_is_called_so() -> None:
    keeper = VerdictKeeper(LABELS, OTHERS, "word", 0.24)
    for _ in range(5):
        keeper.update(scores(0.05, 0.05, 0.7, 0.2), scores(0.05, 0.05, 0.7, 0.2))
    assert keeper.top()[0].intent == "unknown"
    assert keeper.top()[0].score == pytest.approx(0.95)


def test_utterances_pool_all_windows() -> None:
    rng = np.random.default_rng(1)
    rows = rng.dirichlet(np.ones(4), 9).astype(np.float32)
    keeper = VerdictKeeper(LABELS, OTHERS, "utterance", 0.24)
    for k, row in enumerate(rows):
        keeper.update(row, row)
        if k % 3 == 0:
            keeper.update(None, np.zeros(4, np.float32))
    wanted = pool(log_floored(rows), 1.0, 0.24)
    found = {verdict.intent: verdict.score for verdict in keeper.top()}
    np.testing.assert_allclose([found[label] for label in LABELS], wanted, atol=1e-5)
    assert [v.score for v in keeper.top()] == sorted(wanted.tolist(), reverse=True)


@pytest.mark.parametrize("unit", ["word", "utterance"])
def test_silence_has_no_verdict(unit: str) -> None:
    keeper = VerdictKeeper(LABELS, OTHERS, unit, 0.24)  # type: ignore[arg-type]
    assert keeper.top() == ()
    keeper.update(None, np.zeros(4, np.float32))
    assert keeper.top() == ()


def test_without_non_intents() -> None:
    keeper = VerdictKeeper(("up", "down"), frozenset(), "word", 0.24)
    keeper.update(scores(0.2, 0.8), scores(0.2, 0.8))
    assert [v.intent for v in keeper.top()] == ["down", "up"]
    assert [v.score for v in keeper.top()] == pytest.approx([0.8, 0.2])


def test_without_intents() -> None:
    keeper = VerdictKeeper(("unknown", "background"), OTHERS, "word", 0.24)
    keeper.update(scores(0.3, 0.7), scores(0.3, 0.7))
    assert [v.intent for v in keeper.top()] == ["background", "unknown"]
    assert keeper.top()[0].score == pytest.approx(1.0)
