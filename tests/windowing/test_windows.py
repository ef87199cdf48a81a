"""Windows do not depend on the blocks that samples come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.windowing import WindowBuffer, all_windows, samples_of, window_count

quick = settings(max_examples=60, deadline=None)
sizes = st.lists(st.integers(0, 90), max_size=12)
shapes = st.integers(1, 40).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w)))


def numbers(n: int) -> NDArray[np.float32]:
    return np.arange(1, n + 1, dtype=np.float32)


def expected(samples: NDArray[np.float32], window: int, hop: int) -> list[NDArray[np.float32]]:
    """Straight from the definition."""
    padded = np.concatenate([samples, np.zeros(window, dtype=np.float32)])
    return [padded[start : start + window] for start in range(0, len(samples), hop)]


@quick
@given(sizes, shapes)
def test_same_windows_whatever_the_blocks(blocks: list[int], shape: tuple[int, int]) -> None:
    window, hop = shape
    samples = numbers(sum(blocks))
    buffer = WindowBuffer(window, hop)
    found: list[NDArray[np.float32]] = []
    at = 0
    for n in blocks:
        buffer.release(len(found))
        buffer.push(samples[at : at + n])
        at += n
        found += [buffer.view(index).copy() for index in range(len(found), buffer.complete)]
        # never before its last sample
        assert not found or (len(found) - 1) * hop + window <= at
        # and never later: the next one is incomplete
        assert len(found) * hop + window > at
    buffer.flush()
    found += [buffer.view(index).copy() for index in range(len(found), buffer.complete)]
    wanted = expected(samples, window, hop)
    assert len(found) == len(wanted) == window_count(len(samples), hop)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        all_windows(samples, window, hop), np.array(wanted).reshape(-1, window)
    )


@quick
@given(sizes, shapes, st.randoms(use_true_random=False))
def test_windows_stay_until_released(blocks, shape, random) -> None:  # type: ignore[no-untyped-def]
    window, hop = shape
    samples = numbers(sum(blocks))
    wanted = expected(samples, window, hop)
    buffer = WindowBuffer(window, hop)
    released = at = 0
    for n in [*blocks, None]:
        if n is None:
            buffer.flush()
        else:
            buffer.push(samples[at : at + n])
            at += n
        for index in range(released, buffer.complete):
            assert np.array_equal(buffer.view(index), wanted[index])
        released = random.randint(released, buffer.complete)
        buffer.release(released)
    assert buffer.complete == len(wanted)
    assert buffer.end == len(samples)


def test_views_are_views_and_read_only() -> None:
    buffer = WindowBuffer(8, 2)
    buffer.push(numbers(12))
    first, second = buffer.view(0), buffer.view(1)
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_an_hour_fits_in_seconds_of_memory() -> None:
    buffer = WindowBuffer(16000, 3840)
    block = np.zeros(1600, dtype=np.float32)
    for _ in range(36_000):
        buffer.push(block)
        buffer.release(buffer.complete)
    assert len(buffer._data) <= 5 * 16000


def test_what_is_not_held_is_refused() -> None:
    buffer = WindowBuffer(4, 2)
    buffer.push(numbers(6))
    with pytest.raises(IndexError):
        buffer.view(2)
    buffer.release(1)
    with pytest.raises(IndexError):
        buffer.view(0)
    buffer.flush()
    with pytest.raises(RuntimeError):
        buffer.push(numbers(1))


@pytest.mark.parametrize(("window", "hop"), [(4, 0), (4, 5), (0, 0)])
def test_impossible_hops_are_refused(window: int, hop: int) -> None:
    with pytest.raises(ValueError, match="hop"):
        WindowBuffer(window, hop)


def test_seconds_are_rounded_to_samples() -> None:
    assert samples_of(0.24) == 3840
    assert samples_of(1.0) == 16000
    assert samples_of(0.29) == 4640
