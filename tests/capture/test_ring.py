"""The ring: each sample is read or counted as shed, once and in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.ring import Ledger, block, drain

from daemon.capture.ring import Ring

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 70)),
        st.tuples(st.just("read"), st.integers(1, 70)),
        st.tuples(st.just("lose"), st.integers(0, 50)),
        st.tuples(st.just("shed_to"), st.integers(0, 40)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS, capacity=st.integers(1, 40), channels=st.integers(1, 3), last=st.integers(1, 50)
)
def test_live_accounts_for_every_sample(
    steps: list[Step], capacity: int, channels: int, last: int
) -> None:
    ring = Ring(capacity, channels, 16000, shed=True)
    ledger = Ledger()
    written = lost = 0
    arrivals: dict[int, float] = {}
    for number, (what, n) in enumerate(steps):
        if what == "write":
            assert ring.write(block(written, n, channels), float(number)) == n
            for i in range(written, written + n):
                arrivals[i] = float(number)
            written += n
        elif what == "lose":
            ring.lose(n, "hole")
            lost += n
        elif what == "shed_to":
            before = ring.unread
            assert ring.shed_to(n) == max(0, before - n)
            assert ring.unread == min(before, n)
        elif (chunk := ring.read(n)) is not None:
            assert len(chunk.samples) <= n
            ledger.take(chunk)
            for position in range(chunk.start, chunk.end):
                assert chunk.arrival(position) == arrivals[position - chunk.never_arrived]
        assert ring.captured == written
        assert ring.never_arrived == lost
        assert ledger.read + ring.shed + ring.unread == written
        assert ring.unread <= capacity
    ring.finish("gone")
    assert ring.error == "gone"
    for chunk in drain(ring, last):
        ledger.take(chunk)
    assert ring.finished
    assert ledger.read + ring.shed == written
    assert ledger.lost == ring.shed + lost
    assert ledger.position == written + lost == ring.position


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 70), max_size=40),
    reads=st.lists(st.integers(1, 70), min_size=1, max_size=10),
    capacity=st.integers(1, 40),
)
def test_replay_waits_and_loses_nothing(sizes: list[int], reads: list[int], capacity: int) -> None:
    ring = Ring(capacity, 1, 8000, shed=False)
    got: list[NDArray[np.float32]] = []
    written = turn = 0
    for size in sizes:
        pending = block(written, size)
        while len(pending):
            space = capacity - ring.unread
            taken = ring.write(pending, 0.0)
            assert taken == min(len(pending), space)
            pending = pending[taken:]
            written += taken
            if len(pending):
                chunk = ring.read(reads[turn % len(reads)])
                turn += 1
                assert chunk is not None
                got.append(chunk.samples)
    got += [chunk.samples for chunk in drain(ring)]
    ring.finish()
    assert ring.finished
    assert ring.shed == 0
    everything = np.concatenate([np.zeros((0, 1), np.float32), *got])
    np.testing.assert_array_equal(everything, block(0, written))


@pytest.mark.parametrize("shed", [True, False])
def test_blocks_of_one_frame_beyond_the_records(shed: bool) -> None:
    """More blocks than records: live sheds, a replay refuses.

    No position or gap goes wrong.
    """
    ring = Ring(5000, 1, 16000, shed=shed)
    ledger = Ledger()
    written = lost = 0
    for i in range(3000):
        if i % 7 == 3:
            ring.lose(2, "hole")
            lost += 2
        written += ring.write(block(written, 1), float(i))
    assert (written == 3000) is shed
    ring.finish()
    for chunk in drain(ring):
        ledger.take(chunk)
    assert ring.finished
    assert ledger.read + ring.shed == written
    assert ledger.lost == ring.shed + lost
    assert (ring.shed > 0) is shed


def test_a_block_larger_than_the_ring_keeps_its_newest_samples() -> None:
    ring = Ring(10, 2, 16000, shed=True)
    assert ring.write(block(0, 25, 2), 1.0) == 25
    (chunk,) = drain(ring)
    assert (chunk.start, chunk.lost, chunk.reason) == (15, 15, "shed")
    np.testing.assert_array_equal(chunk.samples, block(15, 10, 2))


def test_a_chunk_never_spans_a_gap_and_names_the_largest_loss() -> None:
    ring = Ring(100, 1, 16000, shed=True)
    ring.write(block(0, 10), 1.0)
    ring.lose(3, "overflow")
    ring.lose(40, "device lost")
    ring.lose(2, "hole")
    ring.write(block(10, 10), 2.0)
    first, second = drain(ring)
    assert (first.start, first.end, first.lost, first.reason) == (0, 10, 0, "")
    assert (second.start, second.end, second.lost, second.reason) == (55, 65, 45, "device lost")
    with pytest.raises(IndexError):
        second.arrival(54)
    assert second.arrival(55) == 2.0
    with pytest.raises(IndexError):
        second.arrival(65)


def test_a_loss_at_the_very_end_is_reported() -> None:
    ring = Ring(100, 1, 16000, shed=True)
    ring.write(block(0, 10), 1.0)
    ring.lose(7, "hole")
    assert len(drain(ring)) == 1
    finished = [ring.finished]
    ring.finish()
    finished.append(ring.finished)
    (chunk,) = drain(ring)
    assert (len(chunk.samples), chunk.start, chunk.lost, chunk.reason) == (0, 17, 7, "hole")
    finished.append(ring.finished)
    assert finished == [False, False, True]
    assert ring.read(1) is None
    with pytest.raises(RuntimeError):
        ring.write(block(0, 1), 0.0)
    with pytest.raises(RuntimeError):
        ring.lose(1, "hole")


def test_mono_is_the_mean_of_the_channels() -> None:
    ring = Ring(10, 2, 16000, shed=True)
    ring.write(np.array([[1.0, 0.0], [0.5, -0.5]], np.float32), 0.0)
    (chunk,) = drain(ring)
    np.testing.assert_allclose(chunk.mono, [0.5, 0.0])
    assert chunk.mono.dtype == np.float32


def test_a_replay_ring_refuses_to_shed() -> None:
    with pytest.raises(ValueError, match="never sheds"):
        Ring(10, 1, 8000, shed=False).shed_to(0)
