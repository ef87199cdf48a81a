"""Percentiles in constant memory, and levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.stream.latency import Latencies
from daemon.stream.levels import QUIETEST, LevelMeter


@settings(deadline=None)
@given(st.lists(st.floats(0.02, 1e5), min_size=1, max_size=300))
def test_percentiles_are_right_to_a_percent(values: list[float]) -> None:
    kept = Latencies()
    for value in values:
        kept.add(value)
    for percent in (50, 99):
        wanted = np.percentile(values, percent, method="inverted_cdf")
        assert kept.percentile(percent) == pytest.approx(wanted, rel=0.0101)


def test_no_latencies_have_no_percentile() -> None:
    assert Latencies().percentile(50) is None


def test_absurd_latencies_are_counted() -> None:
    kept = Latencies()
    for value in (0.0, -1.0, 1e12):
        kept.add(value)
    assert kept.percentile(99) is not None


@settings(deadline=None)
@given(st.lists(st.integers(0, 700), max_size=20), st.integers(0, 99))
def test_levels_do_not_depend_on_blocks(sizes: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    meter, found, base = LevelMeter(200), [], 0
    for part in np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []:
        found += [(base + at, rms, peak) for at, rms, peak in meter.feed(part)]
        base += len(part)
    assert [at for at, _, _ in found] == list(range(200, len(samples) + 1, 200))
    for at, rms, peak in found:
        block = samples[at - 200 : at].astype(np.float64)
        assert rms == pytest.approx(10 * np.log10(np.mean(block**2)), abs=1e-3)
        assert peak == pytest.approx(20 * np.log10(np.abs(block).max()), abs=1e-3)


def test_silence_has_a_level() -> None:
    assert list(LevelMeter(10).feed(np.zeros(10, np.float32))) == [(10, QUIETEST, QUIETEST)]
