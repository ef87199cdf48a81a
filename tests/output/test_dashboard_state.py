"""What the dashboard knows: right figures, no clock of its own, no growth."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import LABELS, feed, lose, rolling, run_info

from daemon.messages import Event, Gap, Level, Prediction, Status, Summary
from daemon.output.dashboard import DashboardState
from daemon.output.dashboard.timeline_state import (
    BIN,
    BINS,
    GAP,
    INTENT,
    NOTHING,
    SILENCE,
    SPEECH,
    Timeline,
)


def only(state: DashboardState):  # type: ignore[no-untyped-def]
    return next(iter(state.streams.values()))


def test_a_peak_is_held_then_falls() -> None:
    state = DashboardState(run_info("mic"), 100.0)
    state.apply(Level("mic", -30.0, -6.0, True, 0.1), 100.1)
    state.apply(Level("mic", -50.0, -40.0, False, 0.2), 100.2)
    stream = only(state)
    assert stream.peak_hold(101.5) == -6.0
    assert stream.peak_hold(102.6) == pytest.approx(-30.0)
    assert stream.peak_hold(200.0) == -40.0
    state.apply(Level("mic", float("-inf"), float("nan"), False, 0.3), 200.0)
    assert stream.rms == stream.peak == -60.0


def test_counts_latency_and_losses() -> None:
    state = DashboardState(run_info("a", "b"), 0.0)
    now = feed(state)
    lose(state, now)
    assert state.windows == 2 * round(29 / 0.24)
    assert 0 < state.gated < state.windows
    assert state.samples_lost == 24000
    # As `feed` makes them: the windows in each fifth second.
    latencies = [10.0 + i % 7 for i in range(121) if int(i * 0.24 + 0.5) % 5 == 0]
    assert state.latency == pytest.approx(tuple(np.percentile(latencies, (50, 99))))
    assert only(state).fired == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    # The summary's word on losses is the last.
    state.apply(Summary("a", 30, 1, 0, 0, (), 1, 1, 0, 999, None, None), now)
    assert state.streams["a"].samples_lost == 999


def test_a_live_stream_that_says_nothing_is_noticed_unless_paused_or_over() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    stream = only(state)
    state.apply(Level("mic", -30, -20, False, 1.0), 1.0)
    assert state.deaf_for(stream, 2.5) is None
    assert state.deaf_for(stream, 4.0) == 3.0
    state.pause(True, 4.0)
    assert state.deaf_for(stream, 60.0) is None
    state.pause(False, 60.0)
    assert state.deaf_for(stream, 61.0) is None and state.deaf_for(stream, 63.0) == 3.0
    state.apply(Summary("mic", 1, 1, 0, 0, (), 1, 1, 0, 0, None, None), 63.0)
    assert state.deaf_for(stream, 90.0) is None
    replay = DashboardState(run_info("a.wav", live=False), 0.0)
    assert replay.deaf_for(only(replay), 90.0) is None


def test_a_warning_stays_until_the_next_word_and_information_fades() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    stream = only(state)
    state.apply(Status("mic", "gone", "warning"), 1.0)
    notice = state.notice(stream, 1000.0)
    assert notice is not None and notice.text == "gone"
    state.apply(Status("mic", "back"), 1000.0)
    assert state.notice(stream, 1001.0) is not None
    assert state.notice(stream, 1020.0) is None
    assert [entry.text for entry in state.feed] == ["back", "gone"]


def test_what_happens_live_is_dated_by_the_time_of_day() -> None:
    state = DashboardState(run_info("mic"), 50.0, datetime(2026, 11, 1, 14, 0, 0))
    state.apply(Gap("mic", 5, 6, 1, "overflow"), 111.0)
    assert state.feed[0].time == "14:01:01"
    state = DashboardState(run_info("a.wav", live=False), 50.0, datetime(2026, 11, 1, 14, 0, 0))
    state.apply(Gap("a.wav", 5, 6, 1, "damaged"), 111.0)
    assert state.feed[0].time == "0:05.00"


def test_memory_is_bounded_for_months() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    values = rolling(state, up=0.9)
    for i in range(2_000):
        t = float(i)
        state.apply(Prediction("mic", t, t + 1, False, values, values, 5.0), t)
        state.apply(Event("mic", "up", t, t + 1, 0.9, t + 1), t)
        state.apply(Status("mic", f"word {i}", "warning"), t)
    stream = only(state)
    assert len(state.feed) <= 200 and len(stream.marks) <= 64 and len(state._latencies) <= 512
    assert len(stream.timeline._kinds) == BINS


def test_a_message_of_an_unknown_stream_or_label_does_no_harm() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    state.apply(Level("other", -20, -10, True, 1), 1.0)
    state.apply(Event("mic", "never heard of", 1, 2, 0.9, 2), 2.0)
    assert state.feed[0].label is None and only(state).events == 1


def kinds(timeline: Timeline, *times: float) -> list[int]:
    columns = timeline.columns(BINS)
    return [int(columns.kinds[columns.column(time)]) for time in times]


def test_the_timeline_shows_levels_gates_gaps_and_events() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    now = feed(state)
    lose(state, now)
    timeline = only(state).timeline
    assert kinds(timeline, 5.05, 5.5, 7.5, 12.2) == [SPEECH, INTENT + 1, SILENCE, GAP]
    assert timeline.columns(60).levels.max() == -20.0


def test_without_levels_the_windows_tell_speech_from_silence() -> None:
    state = DashboardState(run_info("a.wav", live=False), 0.0)
    feed(state, levels=False)
    # Windows speak for their middle: those with speech here start within (4.5, 5.5).
    assert kinds(only(state).timeline, 10.85, 12.5) == [SPEECH, SILENCE]


@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(0, 100), st.integers(SILENCE, INTENT + 9)),
        max_size=20,
    ),
    st.integers(1, 250),
)
def test_a_timeline_takes_any_marks(marks: list[tuple[float, float, int]], width: int) -> None:
    timeline = Timeline()
    for start, length, kind in marks:
        timeline.mark(start, start + length, kind, -20.0)
        columns = timeline.columns(width)
        assert columns.kinds.shape == columns.levels.shape == (width,)
        if start + length >= timeline.end - 50:
            assert columns.kinds.max() >= kind


@given(st.integers(2, 230), st.integers(0, 3000))
def test_a_timeline_moves_by_whole_columns(width: int, start: int) -> None:
    """What a column shows does not change while it moves to the left."""
    timeline = Timeline()
    rng = np.random.default_rng(start)
    for i in range(start, start + BINS):
        timeline.mark(i * BIN, (i + 1) * BIN, int(rng.integers(SILENCE, INTENT + 5)))
    before = timeline.columns(width)
    for i in range(start + BINS, start + BINS + 40):
        timeline.mark(i * BIN, (i + 1) * BIN, SILENCE)
    after = timeline.columns(width)
    moved = after.first - before.first
    # The oldest column loses bins and the newest is still filling.
    assert (after.kinds[1 : width - moved - 1] == before.kinds[1 + moved : width - 1]).all()
    assert NOTHING not in after.kinds[1:]


def test_labels_are_known_by_their_own_index() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    state.apply(Event("mic", "eight", 1, 1.5, 0.9, 2), 2.0)
    assert only(state).marks[0].label == LABELS.index("eight")
