"""Events: hysteresis, minimum duration, refractory time, invariants."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.decide import EventDetector, EventSettings, Fired, WordRolling, thresholds_of

LABELS = ("up", "down", "unknown")
OTHERS = frozenset({"unknown"})
WINDOW, HOP = 16000, 3840

rows = st.lists(
    st.one_of(
        st.none(),
        st.tuples(*[st.sampled_from([0.0, 0.2, 0.41, 0.43, 0.6, 0.69, 0.7, 0.9])] * 3),
    ),
    max_size=60,
)
wanted = st.builds(
    EventSettings,
    threshold=st.sampled_from([0.0, 0.5, 0.7]),
    release=st.sampled_from([0.0, 0.6, 1.0]),
    min_duration=st.sampled_from([0.0, 0.24, 0.5]),
    refractory=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    thresholds=st.sampled_from([{}, {"up": 0.9}, {"unknown": 0.1}]),
)


def run(
    values: Sequence[tuple[float, ...] | None],
    setup: EventSettings | None = None,
    unit: str = "word",
    utterances: Sequence[int] | None = None,
) -> list[Fired]:
    """The rolling value is the window's own score; None is a gated window."""
    detector = EventDetector(LABELS, OTHERS, unit, setup or EventSettings())  # type: ignore[arg-type]
    found = []
    for k, row in enumerate(values):
        scores = None if row is None else np.array(row, np.float32)
        rolling = np.zeros(3, np.float32) if scores is None else scores
        number = utterances[k] if utterances else 0
        found += detector.update(k * HOP, k * HOP + WINDOW, scores, rolling, number)
    return found


def up(*values: float) -> list[tuple[float, ...] | None]:
    return [(v, 0.0, 0.1) for v in values]


def windows_of(found: Sequence[Fired]) -> list[int]:
    return [(event.at - WINDOW) // HOP for event in found]


@settings(deadline=None, max_examples=200)
@given(rows, wanted, st.sampled_from(["word", "utterance"]))
def test_invariants(values: list, setup: EventSettings, unit: str) -> None:  # type: ignore[type-arg]
    found = run(values, setup, unit)
    for event in found:
        assert LABELS[event.label] not in OTHERS
        assert 0 <= event.start < event.end <= event.at <= len(values) * HOP + WINDOW
        assert event.score > 0
        if event.core is not None:
            assert event.start <= event.core[0] < event.core[1] <= event.end
        row = values[(event.at - WINDOW) // HOP]
        assert row is not None
        threshold = np.float32(setup.of(LABELS[event.label]))
        assert event.score >= threshold * np.float32(setup.release)
    assert [event.at for event in found] == sorted(event.at for event in found)
    for label in range(len(LABELS)):
        times = [event.at for event in found if event.label == label]
        for one, other in pairwise(times):
            assert other - one >= round(16000 * setup.refractory)
            assert other > one


def test_fires_once_at_the_threshold() -> None:
    found = run(up(0.2, 0.69, 0.7, 0.9, 0.9, 0.8, 0.5, 0.1))
    assert windows_of(found) == [2]
    assert found[0].score == pytest.approx(0.7)
    assert found[0].at == 2 * HOP + WINDOW


def test_only_the_top_begins() -> None:
    assert run([(0.75, 0.9, 0.0)] * 3)[0].label == 1
    assert len(run([(0.75, 0.9, 0.0)] * 3)) == 1
    assert run([(0.75, 0.0, 0.9)] * 3) == []


def test_holds_on_above_the_release_value() -> None:
    # 0.6 * 0.7 = 0.42; refractory is over long before the second rise
    setup = EventSettings(refractory=0.0)
    assert windows_of(run(up(0.8, 0.43, 0.43, 0.8), setup)) == [0]
    assert windows_of(run(up(0.8, 0.41, 0.8), setup)) == [0, 2]
    assert windows_of(run([*up(0.8), None, *up(0.8)], setup)) == [0, 2]


def test_release_of_zero_still_ends_in_silence() -> None:
    setup = EventSettings(release=0.0, refractory=0.0)
    assert windows_of(run([*up(0.8, 0.01, 0.8), None, *up(0.8)], setup)) == [0, 4]


def test_min_duration_is_audio_time_at_or_above_release() -> None:
    setup = EventSettings(min_duration=0.48)  # two hops
    assert windows_of(run(up(0.8, 0.5, 0.5, 0.5), setup)) == [2]
    assert run(up(0.8, 0.5, 0.2, 0.5), setup) == []
    assert windows_of(run(up(0.8, 0.8, 0.8), EventSettings(min_duration=0.49))) == []


def test_refractory_is_audio_time_and_swallows_repetitions() -> None:
    again = up(0.8, 0.1, 0.1, 0.8, 0.8, 0.8, 0.8, 0.1, 0.8)
    # 1 s is more than 4 hops: window 3 begins too early and its whole run is spent
    assert windows_of(run(again)) == [0, 8]
    assert windows_of(run(again, EventSettings(refractory=0.73))) == [0, 8]
    assert windows_of(run(again, EventSettings(refractory=0.72))) == [0, 3, 8]


def test_labels_have_refractory_times_of_their_own() -> None:
    found = run([(0.8, 0.1, 0.1), (0.1, 0.8, 0.1)])
    assert [event.label for event in found] == [0, 1]


def test_labels_have_thresholds_of_their_own() -> None:
    setup = EventSettings(thresholds={"up": 0.9, "nobody": 0.1})
    assert run(up(0.89), setup) == []
    assert len(run(up(0.9), setup)) == 1
    assert len(run([(0.1, 0.7, 0.1)], setup)) == 1
    np.testing.assert_allclose(thresholds_of(LABELS, setup), [0.9, 0.7, 0.7])


def test_support_is_the_run_that_leads_to_it() -> None:
    setup = EventSettings(min_duration=0.24)
    # own scores: an old blip, a pause, then the run
    found = run(up(0.5, 0.1, 0.5, 0.8, 0.9), setup)
    assert (found[0].start, found[0].end) == (2 * HOP, 4 * HOP + WINDOW)
    assert found[0].core == (4 * HOP, 2 * HOP + WINDOW)


def test_one_word_through_the_mean_is_one_event() -> None:
    rolling = WordRolling(3, 3)
    detector = EventDetector(LABELS, OTHERS, "word", EventSettings())
    own = [0, 0, 0.3, 0.95, 0.99, 0.7, 0.98, 0.2, 0, 0, 0, 0]
    found = []
    for k, value in enumerate(own):
        scores = np.array([value, 0, 1 - value], np.float32) if value else None
        found += detector.update(k * HOP, k * HOP + WINDOW, scores, rolling.update(scores))
    assert len(found) == 1
    assert found[0].start == 3 * HOP


def test_an_utterance_fires_once() -> None:
    values = [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.8, 0.1)] * 2
    setup = EventSettings(refractory=0.0)
    assert windows_of(run(values, setup, "utterance", [0, 0, 0, 0, 0, 0])) == [0]
    found = run(values, setup, "utterance", [0, 0, 0, 1, 1, 1])
    assert windows_of(found) == [0, 3]
    found = run(values, setup, "utterance", [0, 1, 1, 1, 1, 1])
    assert [event.label for event in found] == [0, 1]
    with_pause = [*values[:2], None, *values[:2]]
    assert windows_of(run(with_pause, setup, "utterance", [0, 0, 0, 0, 0])) == [0, 3]


def test_an_utterance_of_weak_windows_is_supported_as_a_whole() -> None:
    detector = EventDetector(LABELS, OTHERS, "utterance", EventSettings())
    own = np.array([0.4, 0.3, 0.3], np.float32)
    found = []
    for k, value in enumerate([0.4, 0.6, 0.72]):
        rolling = np.array([value, 0.1, 0.1], np.float32)
        found += detector.update(k * HOP, k * HOP + WINDOW, own, rolling, 0)
    assert (found[0].start, found[0].end, found[0].core) == (0, 2 * HOP + WINDOW, None)


def test_reset_forgets_everything() -> None:
    detector = EventDetector(LABELS, OTHERS, "word", EventSettings())
    row = np.array([0.9, 0, 0], np.float32)
    assert len(detector.update(0, WINDOW, row, row)) == 1
    assert detector.update(HOP, HOP + WINDOW, row, row) == []
    detector.reset()
    assert len(detector.update(0, WINDOW, row, row)) == 1
