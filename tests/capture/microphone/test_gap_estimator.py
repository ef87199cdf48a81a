"""Which delays are lost samples, and which are only delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.capture.microphone.gap_estimator import GapEstimator

RATE, BLOCK = 16000, 640


class Card:
    """A sound card whose blocks are late by a jitter, and that loses samples."""

    def __init__(self, drift: float = 0.0, seed: int = 0, jitter: float = 0.004) -> None:
        self.estimator = GapEstimator(RATE, BLOCK)
        self.now = 100.0
        self.missing = 0
        self.latency = 0.1
        self._rng = np.random.default_rng(seed)
        self._jitter = jitter
        self._rate = RATE * (1 + drift)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * RATE / BLOCK)):
            self.block()

    def block(self, late: float = 0.0, overflow: bool = False) -> None:
        self.now += BLOCK / self._rate
        delay = float(self._rng.exponential(self._jitter)) + late + self.latency
        driver = self.now - BLOCK / self._rate
        self.missing += self.estimator.arrived(self.now + delay, BLOCK, driver, overflow)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    drift=st.floats(-5e-4, 5e-4),
    jitter=st.floats(0, 0.02),
)
def test_jitter_and_drift_are_no_loss(seed: int, drift: float, jitter: float) -> None:
    card = Card(drift, seed, jitter)
    card.run(300)
    assert card.missing == 0


@pytest.mark.parametrize("seconds", [0.15, 0.5, 3.0])
@pytest.mark.parametrize("drift", [0.0, 3e-4, -3e-4])
def test_a_loss_is_found_within_two_seconds_and_measured_to_a_block(
    seconds: float, drift: float
) -> None:
    card = Card(drift)
    card.run(10)
    card.now += seconds
    card.run(2.2)
    assert card.missing == pytest.approx(seconds * RATE, abs=BLOCK)
    found = card.missing
    card.run(60)
    assert card.missing == found, "and found once"


@pytest.mark.parametrize("stall", [0.3, 2.0])
def test_blocks_that_come_late_in_a_burst_are_no_loss(stall: float) -> None:
    """As when another thread kept the interpreter busy: nothing is missing."""
    card = Card()
    card.run(10.3)
    blocks = round(stall * RATE / BLOCK)
    for i in range(blocks):
        card.block(late=stall - i * BLOCK / RATE)
    card.run(10)
    assert card.missing == 0


def test_an_overflow_is_believed_at_once_and_measured_by_the_driver() -> None:
    card = Card()
    card.run(5)
    card.now += 0.2
    card.block(overflow=True)
    assert card.missing == pytest.approx(0.2 * RATE, abs=BLOCK)
    found = card.missing
    card.run(20)
    assert card.missing == found, "the clock does not count it again"


def test_an_overflow_of_unknown_length_is_one_block() -> None:
    card = Card()
    card.run(5)
    card.block(overflow=True)
    assert card.missing == BLOCK


def test_an_outage_is_measured_by_the_clock() -> None:
    card = Card()
    card.run(5)
    card.now += 4.0 + BLOCK / RATE
    missing = card.estimator.resumed(card.now + card.latency, BLOCK)
    assert missing == pytest.approx(4.0 * RATE, abs=BLOCK)
    card.run(20)
    assert card.missing == 0


def test_a_stream_that_never_ran_has_nothing_to_miss() -> None:
    assert GapEstimator(RATE, BLOCK).resumed(5.0, BLOCK) == 0


@pytest.mark.parametrize("drift", [0.0, 3e-4, -3e-4])
def test_a_latency_that_rises_and_falls_again_and_again_counts_once(drift: float) -> None:
    """As when another program asks the server for large blocks, now and then."""
    card = Card(drift)
    card.run(10)
    for _ in range(20):
        card.latency = 0.3
        card.run(5)
        card.latency = 0.1
        card.run(5)
    assert card.missing == pytest.approx(0.2 * RATE, abs=BLOCK)
    card.now += 1.0
    card.run(3)
    assert card.missing == pytest.approx(1.0 * RATE, abs=BLOCK), "what was too much is made up for"


def test_a_latency_that_falls_and_rises_again_counts_nothing() -> None:
    """PipeWire inserts sound for a longer cycle, and drops as much later."""
    card = Card()
    card.run(10)
    for _ in range(20):
        card.latency = -0.2
        card.run(5)
        card.latency = 0.1
        card.run(5)
    assert card.missing == 0


def test_an_outage_makes_up_for_a_latency_that_counted_as_a_loss() -> None:
    card = Card()
    card.run(10)
    card.latency = 0.4
    card.run(5)
    card.latency = 0.1
    card.run(5)
    card.now += 4.0 + BLOCK / RATE
    missing = card.missing + card.estimator.resumed(card.now + card.latency, BLOCK)
    assert missing == pytest.approx(4.0 * RATE, abs=BLOCK)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), drift=st.floats(-5e-4, 5e-4), jitter=st.floats(0, 0.02))
def test_ten_minutes_of_jitter_hides_no_loss(seed: int, drift: float, jitter: float) -> None:
    card = Card(drift, seed, jitter)
    card.run(600)
    card.now += 0.5
    card.run(2.2)
    assert card.missing == pytest.approx(0.5 * RATE, abs=2 * BLOCK)


def test_a_first_block_that_came_late_hides_no_loss() -> None:
    card = Card()
    card.block(late=0.5)
    card.run(10)
    card.now += 0.3
    card.run(2.2)
    assert card.missing == pytest.approx(0.3 * RATE, abs=BLOCK)


def test_what_is_overdue_is_known_before_a_block_comes() -> None:
    card = Card()
    assert card.estimator.overdue(card.now) == 0
    card.run(5)
    overdue = card.estimator.overdue(card.now + card.latency + 2.0)
    assert overdue == pytest.approx(2.0 * RATE, abs=BLOCK)
