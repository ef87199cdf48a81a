"""How fast a client may send events."""

from __future__ import annotations

import pytest

from daemon.serve.pace import BURST, RATE, REQUEST, Pace


@pytest.mark.parametrize("milliseconds", [10, 64])
def test_sound_at_real_time_never_waits(milliseconds: int) -> None:
    pace = Pace()
    assert not any(pace.take(n * milliseconds / 1000) for n in range(100_000))


def test_a_recording_of_a_minute_never_waits() -> None:
    pace = Pace()
    assert not any(pace.take(0.0) for _ in range(60_000 // 64))


@pytest.mark.parametrize("cost", [1.0, REQUEST])
def test_events_without_end_come_at_the_rate(cost: float) -> None:
    pace, now, count = Pace(), 0.0, 0
    while now < 60.0:
        now += pace.take(now, cost)
        count += 1
    assert count == pytest.approx((BURST + 60.0 * RATE) / cost, rel=0.01)


def test_who_has_rested_may_send_at_once_again() -> None:
    pace = Pace(rate=10.0, burst=5.0)
    assert [pace.take(0.0) for _ in range(6)] == [0.0] * 5 + [pytest.approx(0.1)]
    assert [pace.take(100.0) for _ in range(6)] == [0.0] * 5 + [pytest.approx(0.1)]
