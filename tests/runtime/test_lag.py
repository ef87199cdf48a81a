"""Lag that is excused, since the process was stopped meanwhile."""

from __future__ import annotations

import pytest

from daemon.runtime.lag import ARRIVAL_SECONDS, CHECK_GAP, RESUME_SECONDS, ProcessStop

WARNING = 2.0


@pytest.fixture
def stop() -> ProcessStop:
    """A process that has been running for a while."""
    found = ProcessStop()
    for now in (99.8, 99.9, 100.0):
        found.excuses(0.0, WARNING, now)
    return found


def test_lag_of_a_running_process_is_the_models(stop: ProcessStop) -> None:
    assert not stop.excuses(4.5, WARNING, 100.2)


def test_lag_is_excused_before_the_stop_is_known(stop: ProcessStop) -> None:
    assert stop.excuses(4.5, WARNING, 106.0)
    stop.end(106.001)
    assert stop.excuses(4.5, WARNING, 106.1)


def test_sound_that_arrives_late_is_excused(stop: ProcessStop) -> None:
    stop.end(106.0)
    assert stop.excuses(0.0, WARNING, 106.1)
    assert stop.excuses(4.5, WARNING, 106.2)


def test_it_ends_once_all_is_classified_or_after_some_seconds(stop: ProcessStop) -> None:
    stop.end(106.0)
    assert not stop.excuses(0.0, WARNING, 106.0 + ARRIVAL_SECONDS + 0.1)
    stop.end(110.0)
    assert stop.excuses(4.5, WARNING, 110.0 + RESUME_SECONDS)
    assert not stop.excuses(4.5, WARNING, 110.1 + RESUME_SECONDS)


def test_a_model_with_long_batches_is_not_excused_for_ever(stop: ProcessStop) -> None:
    times = [100.0 + n * (CHECK_GAP + 0.5) for n in range(1, 5)]
    assert [stop.excuses(4.5, WARNING, now) for now in times] == [True, False, True, False]
