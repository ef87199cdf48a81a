"""Verified events: when the verifier is asked, and what its answer does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.decide import EventDetector, EventSettings, Fired
from daemon.decide.verification import Verification, log_odds, sigmoid

LABELS = ("up", "down", "unknown")
WINDOW, HOP = 16000, 3840
SECOND = round(16000 / HOP)
VERIFICATION = Verification(candidate=0.2, asks=3)
Row = tuple[float, float, float]


class Asked:
    """A detector with rolling values, and a verifier that counts its calls."""

    def __init__(
        self,
        rows: Sequence[Row | None],
        verifier: Sequence[Row],
        verification: Verification = VERIFICATION,
        **events: float,
    ) -> None:
        settings = EventSettings(threshold=0.5, **events)  # type: ignore[arg-type]
        detector = EventDetector(LABELS, {"unknown"}, "word", settings, verification)
        self.questions: list[int] = []
        self.fired: list[Fired] = []
        self.rejected: list[Fired] = []
        for k, row in enumerate(rows):
            scores = None if row is None else np.array(row, np.float32)
            rolling = np.zeros(3, np.float32) if scores is None else scores

            def ask(k: int = k) -> np.ndarray:
                self.questions.append(k)
                return np.array(verifier[k % len(verifier)], np.float32)

            for found in detector.update(k * HOP, k * HOP + WINDOW, scores, rolling, 0, ask):
                (self.fired if found.confirmed else self.rejected).append(found)


def up(*values: float) -> list[Row | None]:
    return [(value, 0.0, 1 - value) for value in values]


YES: Row = (0.98, 0.01, 0.01)
NO: Row = (0.01, 0.01, 0.98)


def test_a_candidate_fires_if_both_agree_though_the_model_took_it_for_none() -> None:
    asked = Asked(up(0.1, 0.3, 0.3), [YES])
    assert asked.questions == [1]
    (event,) = asked.fired
    assert (event.label, event.at) == (0, HOP + WINDOW)
    assert event.score == pytest.approx(0.3)
    assert event.verified == pytest.approx(sigmoid(log_odds(0.3) + log_odds(0.98)))
    assert not asked.rejected


def test_a_sure_model_is_overruled_and_the_rejection_has_the_best_score() -> None:
    asked = Asked(up(0.8, 0.9, 0.7, 0.1), [NO, (0.05, 0.0, 0.95), NO])
    assert not asked.fired and asked.questions == [0, 1, 2]
    (rejection,) = asked.rejected
    assert rejection.verified == pytest.approx(sigmoid(log_odds(0.9) + log_odds(0.05)))
    assert rejection.at == 2 * HOP + WINDOW


def test_a_word_that_fades_before_all_questions_is_rejected_then() -> None:
    asked = Asked(up(0.3, 0.0), [NO])
    assert asked.questions == [0] and not asked.fired
    assert [found.at for found in asked.rejected] == [HOP + WINDOW]


def test_a_rejected_label_rests_and_is_asked_about_again() -> None:
    asked = Asked(up(*[0.4] * 12), [NO], refractory=1.0)
    assert asked.questions == [0, 1, 2, 2 + SECOND + 1, 2 + SECOND + 2, 2 + SECOND + 3]
    assert len(asked.rejected) == 2


def test_one_question_a_window_and_only_about_the_likeliest_intent() -> None:
    asked = Asked([(0.3, 0.4, 0.3)], [YES])
    # YES is for "up", and "down" is the likelier one.
    assert asked.questions == [0] and not asked.fired
    assert Asked([None, (0.1, 0.15, 0.75)], [YES]).questions == []


def test_nothing_fires_twice_and_the_weights_count() -> None:
    assert len(Asked(up(*[0.9] * 10), [YES]).fired) == 1
    strict = Verification(candidate=0.2, verifier_weight=0.0, bias=-2.0)
    assert not Asked(up(0.8), [YES], strict).fired
    assert Asked(up(0.9), [NO], strict).fired


@given(st.floats(-800, 800))
def test_the_logistic_function_holds_for_all_numbers(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1
    assert sigmoid(value) + sigmoid(-value) == pytest.approx(1)
    if abs(value) < 9:
        assert log_odds(sigmoid(value)) == pytest.approx(value, abs=1e-6)
