"""Rolling opinions against their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.decide import (
    RollingSettings,
    UtteranceRolling,
    WordRolling,
    evidence_weights,
    log_floored,
    make_rolling,
    pool,
)

LABELS = 4
seeds = st.integers(0, 2**32 - 1)


def posteriors(n: int, seed: int, sharpness: float = 3.0) -> NDArray[np.float32]:
    logits = sharpness * np.random.default_rng(seed).standard_normal((n, LABELS))
    powers = np.exp(logits)
    made: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return made


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=20), st.integers(1, 6), seeds)
def test_words_are_the_mean_of_the_last_windows(gated: list[bool], windows: int, seed: int) -> None:
    scores = posteriors(len(gated), seed)
    rolling = WordRolling(LABELS, windows)
    rows = np.where(np.array(gated, bool)[:, None], 0, scores)
    for k, silent in enumerate(gated):
        found = rolling.update(None if silent else scores[k])
        np.testing.assert_allclose(found, rows[max(0, k - windows + 1) : k + 1].mean(0), atol=1e-6)
        assert found.dtype == np.float32
        assert rolling.utterance == 0


def test_words_fade_in_silence() -> None:
    rolling = WordRolling(2, 3)
    values = [rolling.update(np.array([1, 0], np.float32))[0]]
    values += [rolling.update(None)[0] for _ in range(3)]
    np.testing.assert_allclose(values, [1, 1 / 2, 1 / 3, 0], atol=1e-6)
    rolling.reset()
    assert rolling.update(np.array([0.4, 0.6], np.float32))[0] == np.float32(0.4)


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(0.5, 1.0), st.floats(0.05, 1.0), seeds)
def test_utterances_pool_window_by_window(
    n: int, forgetting: float, overlap: float, seed: int
) -> None:
    scores = posteriors(n, seed)
    rolling = UtteranceRolling(LABELS, forgetting, 1.0, overlap, max_seconds=100.0)
    for k in range(n):
        found = rolling.update(scores[k])
        wanted = pool(log_floored(scores[: k + 1]), forgetting, overlap)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert abs(found.sum() - 1) < 1e-5
        assert rolling.utterance == 0


def test_one_window_keeps_its_posterior() -> None:
    scores = posteriors(1, 3, 1.0)
    np.testing.assert_allclose(pool(log_floored(scores), 1.0, 0.24), scores[0], atol=1e-6)


def test_weights_by_hand() -> None:
    # Three windows, a quarter of each new: 1 + 2 / 4 windows' worth of sound.
    np.testing.assert_allclose(evidence_weights(3, 1.0, 0.25), [0.5, 0.5, 0.5])
    # Half forgotten a window: 1/4 + 1/2 + 1 = 7/4 windows, which stand for 1 + 3/4 / 4.
    np.testing.assert_allclose(
        evidence_weights(3, 0.5, 0.25), np.array([1, 2, 4]) / 7 * (1 + 0.75 / 4)
    )
    np.testing.assert_allclose(evidence_weights(5, 1.0, 1.0), np.ones(5))


@given(st.integers(1, 200), st.floats(0.05, 1.0))
def test_overlapping_windows_count_as_the_sound_they_hold(n: int, overlap: float) -> None:
    assert evidence_weights(n, 1.0, overlap).sum() == pytest.approx(1 + (n - 1) * overlap)


def test_weak_evidence_adds_up() -> None:
    rolling = UtteranceRolling(2, 1.0, 1.0, 0.24)
    values = [rolling.update(np.array([0.6, 0.4], np.float32))[0] for _ in range(40)]
    assert values[0] == pytest.approx(0.6)
    assert all(a < b for a, b in pairwise(values))
    assert values[-1] > 0.95


def test_one_window_cannot_rule_a_label_out() -> None:
    rolling = UtteranceRolling(2, 1.0, 1.0, 1.0)
    rolling.update(np.array([0.0, 1.0], np.float32))
    for _ in range(5):
        found = rolling.update(np.array([0.9, 0.1], np.float32))
    assert found[0] > 0.8
    assert np.isfinite(found).all()


@pytest.mark.parametrize("ending", ["gated", "next", "reset"])
def test_each_utterance_starts_from_nothing(ending: str) -> None:
    scores = posteriors(4, 5, 1.0)
    rolling = UtteranceRolling(LABELS)
    for row in scores[:3]:
        rolling.update(row, 1)
    if ending == "gated":
        np.testing.assert_array_equal(rolling.update(None, 0), np.zeros(LABELS))
        np.testing.assert_array_equal(rolling.update(None, 0), np.zeros(LABELS))
    elif ending == "reset":
        rolling.reset()
    found = rolling.update(scores[3], 2 if ending == "next" else 1)
    np.testing.assert_allclose(found, scores[3], atol=1e-6)
    assert rolling.utterance == 1


def test_utterances_end_after_max_seconds() -> None:
    # 1 s windows every 0.5 s: 3 s hold windows that begin at 0, 0.5, 1, 1.5 and 2.
    rolling = UtteranceRolling(2, 1.0, 1.0, 0.5, max_seconds=3.0)
    numbers = []
    for _ in range(12):
        rolling.update(np.array([0.6, 0.4], np.float32))
        numbers.append(rolling.utterance)
    assert numbers == [0] * 5 + [1] * 5 + [2] * 2


def test_the_unit_chooses() -> None:
    wanted = RollingSettings(windows=2, forgetting=0.5, max_seconds=1.0)
    words = make_rolling("word", 2, 1.0, 0.5, wanted)
    utterance = make_rolling("utterance", 2, 1.0, 0.5, wanted)
    row = np.array([0.9, 0.1], np.float32)
    for _ in range(3):
        words.update(row)
        utterance.update(row)
    assert words.update(None)[0] == pytest.approx(0.45)
    assert utterance.utterance == 2


def test_training_can_pool_with_torch() -> None:
    torch = pytest.importorskip("torch")
    scores = posteriors(6, 9)
    logs = torch.as_tensor(log_floored(scores))
    weights = torch.as_tensor(evidence_weights(6, 0.9, 0.24))
    found = torch.softmax(weights @ logs, -1).numpy()
    np.testing.assert_allclose(found, pool(log_floored(scores), 0.9, 0.24), atol=1e-6)


@pytest.mark.parametrize(
    "arguments", [(0.0, 1.0, 0.24), (1.1, 1.0, 0.24), (1.0, 1.0, 0.0), (1.0, 0.2, 0.24)]
)
def test_impossible_settings_are_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        UtteranceRolling(2, *arguments)
    with pytest.raises(ValueError, match="at least 1"):
        WordRolling(2, 0)
