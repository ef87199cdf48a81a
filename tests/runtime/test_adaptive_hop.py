"""The hop that widens by itself: when, how far, and back again."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.making import speechlike

from daemon.messages import Gap, Prediction, Status
from daemon.runtime.adaptive_hop import QUIET, SETTLE, AdaptiveHop


def test_it_widens_step_by_step_and_narrows_after_a_calm() -> None:
    adaptive = AdaptiveHop(0.2, 0.6)
    adaptive.add(0.3, 1)
    assert adaptive.update(0.4, 0.5, 1, 0.0) is None
    assert adaptive.update(0.6, 0.5, 1, 1.0) == 0.375  # what the model can do at 80 %
    assert adaptive.update(0.6, 0.5, 1, 1.0 + SETTLE / 2) is None
    assert adaptive.update(0.6, 0.5, 1, 1.0 + SETTLE) == 0.562
    assert adaptive.update(0.6, 0.5, 1, 20.0) == 0.6
    assert adaptive.update(9.9, 0.5, 1, 90.0) is None  # no wider than allowed
    assert adaptive.update(0.1, 0.5, 1, 100.0) is None
    assert adaptive.update(0.1, 0.5, 1, 100.0 + QUIET) is None  # still too slow for 0.2 s
    for _ in range(50):
        adaptive.add(0.05, 1)
    assert adaptive.update(0.1, 0.5, 1, 101.0 + QUIET) == 0.2
    assert adaptive.update(0.1, 0.5, 1, 300.0) is None


def test_streams_share_the_model() -> None:
    adaptive = AdaptiveHop(0.2, 2.0)
    adaptive.add(0.4, 4)
    assert adaptive.update(1.0, 0.5, 8, 0.0) == pytest.approx(8 * 0.1 / 0.8)


def test_without_leave_it_never_widens() -> None:
    adaptive = AdaptiveHop(0.2, 0.0)
    adaptive.add(3.0, 1)
    assert all(adaptive.update(5.0, 0.5, 1, float(now)) is None for now in range(100))


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.001, 1), st.floats(0, 5)), max_size=60),
    st.integers(1, 20),
)
def test_it_stays_within_its_bounds(script: list[tuple[float, float, float]], streams: int) -> None:
    adaptive = AdaptiveHop(0.2, 0.9)
    now, changed = 0.0, -100.0
    for lag, cost, wait in script:
        now += wait
        adaptive.add(cost, 1)
        hop = adaptive.update(lag, 0.5, streams, now)
        if hop is not None:
            assert 0.2 <= hop <= 0.9 and now - changed >= SETTLE
            changed = now
        assert 0.2 <= adaptive.hop <= 0.9


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")
def test_a_slow_model_is_kept_up_with_at_a_wider_hop() -> None:
    """A model 1.5 times too slow: twice the hop, and no more is lost."""
    from support.running import HOP, RATE, Model, Run, balanced

    run = Run(
        speechlike(9.0), Model(lambda _: 1.5 * HOP), live=True, lag_limit=2.5, widest_hop=4 * HOP
    )
    assert run.run()[0] == 0
    said = [m.text for m in run.output.of(Status) if isinstance(m, Status)]
    assert any("a window comes every" in text and "keeps up" in text for text in said), said
    windows = [m for m in run.output.of(Prediction) if isinstance(m, Prediction)]
    assert windows[-1].start - windows[-2].start >= 1.5 * HOP - 0.001
    late = [m.latency_ms for m in windows[-15:-5] if m.latency_ms is not None]
    assert sorted(late)[len(late) // 2] < 800
    lost = [gap for gap in run.output.of(Gap) if isinstance(gap, Gap)]
    assert all(gap.end < 6.0 for gap in lost)
    assert balanced(run.output.summary)
    assert run.output.summary.samples_captured == 9 * RATE
