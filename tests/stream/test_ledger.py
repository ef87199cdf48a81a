"""The ledger balances, and says so when it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.base.errors import AccountingError
from daemon.stream.ledger import Ledger, SegmentCount


@dataclass
class Ring:
    captured: int = 0
    shed: int = 0
    never_arrived: int = 0


@settings(deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 40).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w))),
    st.sampled_from([(16, 16), (48, 16), (8, 16), (441, 160)]),
    st.randoms(use_true_random=False),
)
def test_a_sample_is_classified_if_any_window_covers_it(samples, shape, rates, random) -> None:  # type: ignore[no-untyped-def]
    (window, hop), (rate, window_rate) = shape, rates
    ledger = Ledger()
    count = SegmentCount(ledger, rate, window_rate)
    count.received = samples
    covered = np.zeros(samples, bool)
    n = -(-(samples * window_rate // rate) // hop)
    for k in range(n):
        if random.random() < 0.5:
            count.classify(k * hop, k * hop + window)
            first, last = (x * rate // window_rate for x in (k * hop, k * hop + window))
            covered[first:last] = True
    count.close()
    assert ledger.classified == covered.sum()
    assert ledger.gated == samples - covered.sum()


def full() -> Ledger:
    ledger = Ledger()
    ledger.receive(10, 100, 10, 100, 0, 10)
    ledger.receive(130, 50, 20, 170, 20, 10)
    count = SegmentCount(ledger, 16000, 16000)
    count.received = 150
    count.classify(0, 90)
    count.close()
    return ledger


def test_a_balanced_ledger_closes() -> None:
    ledger = full()
    ledger.close(Ring(170, 20, 10))
    assert (ledger.classified, ledger.gated, ledger.shed, ledger.lost) == (90, 60, 20, 30)
    assert ledger.captured == ledger.classified + ledger.gated + ledger.shed


@pytest.mark.parametrize("field", ["classified", "gated", "shed", "captured", "undone"])
def test_one_sample_too_many_is_noticed(field: str) -> None:
    ledger = full()
    setattr(ledger, field, getattr(ledger, field) + 1)
    with pytest.raises(AccountingError):
        ledger.close()


@pytest.mark.parametrize("field", ["captured", "shed", "never_arrived"])
def test_the_ring_must_agree(field: str) -> None:
    ring = Ring(170, 20, 10)
    setattr(ring, field, getattr(ring, field) - 1)
    with pytest.raises(AccountingError, match=r"169|19|9"):
        full().close(ring)


@pytest.mark.parametrize(
    "chunk",
    [
        (181, 10, 0, 180, 20, 10),  # a chunk is missing
        (180, 10, 0, 181, 20, 10),  # a sample was written and did not come
        (185, 10, 5, 180, 20, 10),  # lost, but neither shed nor never arrived
    ],
)
def test_chunks_must_join(chunk: tuple[int, int, int, int, int, int]) -> None:
    ledger = full()
    with pytest.raises(AccountingError):
        ledger.receive(*chunk)


def test_what_is_abandoned_is_shed() -> None:
    ledger = Ledger()
    ledger.receive(0, 100, 0, 100, 0, 0)
    count = SegmentCount(ledger, 16000, 16000)
    count.received = 100
    count.classify(0, 40)
    assert count.abandon(24) == 60
    ledger.close()
    assert (ledger.classified, ledger.undone, ledger.lost) == (40, 60, 60)
