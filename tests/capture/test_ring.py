"""The ring: every sample written is read once or counted as shed once, in order, in its place."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.capture.ring import Chunk, Ring
from daemon.capture.wake import Wake


def block(start: int, n: int, channels: int = 1) -> NDArray[np.float32]:
    """Samples that carry their own stored position (exact in float32 below 2^24)."""
    column = np.arange(start, start + n, dtype=np.float32)
    return np.repeat(column[:, None], channels, axis=1)


def drain(ring: Ring, max_frames: int = 1 << 20) -> list[Chunk]:
    chunks = []
    while (chunk := ring.read(max_frames)) is not None:
        chunks.append(chunk)
    return chunks


class Ledger:
    """What a reader may conclude from the chunks alone; fails if they contradict each other."""

    def __init__(self) -> None:
        self.position = 0
        self.read = 0
        self.lost = 0

    def take(self, chunk: Chunk) -> None:
        assert chunk.start == self.position + chunk.lost
        assert (chunk.lost > 0) == bool(chunk.reason)
        assert chunk.captured + chunk.never_arrived == chunk.end
        self.lost += chunk.lost
        self.read += len(chunk.samples)
        assert self.lost == chunk.shed + chunk.never_arrived
        assert self.read + chunk.shed == chunk.captured
        self.position = chunk.end
        if len(chunk.samples):
            # The samples carry their stored positions: order, and nothing twice.
            first = chunk.start - chunk.never_arrived
            np.testing.assert_array_equal(
                chunk.samples[:, 0], np.arange(first, first + len(chunk.samples))
            )
            assert chunk.block_ends[0] > chunk.start
            assert (np.diff(chunk.block_ends) > 0).all()
            assert chunk.block_ends[-1] >= chunk.end
            assert len(chunk.block_ends) == 1 or chunk.block_ends[-2] < chunk.end
        else:
            assert chunk.lost > 0


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
    """More blocks than records: live sheds, replay refuses; no position or gap goes wrong."""
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


def test_the_writer_wakes_the_reader_and_the_reader_the_writer() -> None:
    wake = Wake()
    ring = Ring(4, 1, 16000, shed=False, wake=wake)
    assert not wake.wait(0)
    assert ring.write(block(0, 6), 0.0) == 4
    assert wake.wait(0)
    assert not ring.writer_wake.wait(0.01)
    ring.read(2)
    assert ring.writer_wake.wait(0)
    assert ring.write(block(4, 2), 0.0) == 2
    ring.finish()
    wake.wait(0)
    assert not wake.wait(0)


def test_the_reader_is_woken_for_as_much_as_it_asked_for() -> None:
    wake = Wake()
    ring = Ring(100, 1, 16000, shed=True, wake=wake)

    def has(frames: int) -> bool:
        ring.await_frames(frames)
        return ring.ready

    assert not has(30)
    ring.write(block(0, 20), 0.0)
    assert not wake.wait(0)
    ring.write(block(20, 10), 0.0)
    assert wake.wait(0)
    assert has(30)  # nothing was read: no call would come
    assert ring.read(25) is not None
    assert has(5) and not has(6)
    ring.write(block(30, 1), 0.0)
    assert wake.wait(0)
    assert not has(50)
    ring.finish()
    assert wake.wait(0) and has(50)


def test_the_reader_is_woken_sooner_by_what_is_loud() -> None:
    wake = Wake()
    ring = Ring(100, 2, 16000, shed=True, wake=wake)

    def write(*values: float) -> bool:
        ring.write(np.array([[0.0, value] for value in values], np.float32), 0.0)
        return wake.wait(0)

    def ready() -> bool:
        return ring.ready

    ring.await_frames(30, 10, 0.5)
    assert not ready()
    assert not write(*[0.5] * 20)  # not louder
    assert not ready()
    assert write(-0.6)
    assert ready()
    assert ring.read(100) is not None
    ring.await_frames(30, 10, 0.5)
    assert not write(0.6)  # loud, but too little
    assert not write(*[0.1] * 5)
    assert write(*[0.1] * 5)  # enough, and something in it was loud
    assert ring.read(100) is not None
    ring.await_frames(30, 10, 0.5)
    assert not write(*[0.1] * 29)  # what was loud before is forgotten
    assert write(0.1)
    assert ready()


def test_what_is_loud_while_the_reader_works_is_not_forgotten() -> None:
    wake = Wake()
    ring = Ring(100, 1, 16000, shed=True, wake=wake)
    quiet, loud = np.zeros((30, 1), np.float32), np.full((12, 1), 0.6, np.float32)
    ring.await_frames(30, 10, 0.5)
    ring.write(quiet, 0.0)
    assert wake.wait(0)
    assert ring.read(100) is not None
    ring.write(loud, 0.0)
    ring.await_frames(30, 10, 0.5)
    assert ring.ready
    ring.await_frames(30)  # no sooner for what is loud
    assert not ring.ready


def test_no_more_is_waited_for_than_the_ring_holds() -> None:
    wake = Wake()
    ring = Ring(8, 1, 16000, shed=False, wake=wake)
    ring.await_frames(100)
    assert ring.write(block(0, 10), 0.0) == 8
    assert wake.wait(0)


def test_wake_is_one_call_however_often_it_is_set() -> None:
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait(0)
    assert not wake.wait(0)
    started = time.monotonic()
    threading.Timer(0.05, wake.set).start()
    assert wake.wait(5)
    assert time.monotonic() - started < 2


@pytest.fixture
def fine_switching() -> Iterator[None]:
    """Let threads interrupt each other far more often than they would by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("fine_switching")
@pytest.mark.parametrize(
    ("capacity", "size", "read"),
    [(997, 64, 300), (20_000, 7_000, 20_000), (4096, 4096, 1000), (3000, 1, 3000)],
)
def test_a_writer_that_overruns_the_reader_never_shows_a_torn_sample(
    capacity: int, size: int, read: int
) -> None:
    """Real threads, a writer at full speed. Both columns of a frame carry its position, so a
    sample that was overwritten while it was read is seen. Blocks of 7,000 frames are copied
    without the interpreter's lock, so the copies themselves overlap in time."""
    ring = Ring(capacity, 2, 16000, shed=True)
    ledger = Ledger()
    total = min(16_000_000, 12_000 * size)
    lost = [0]

    def writer() -> None:
        written = number = 0
        until = time.monotonic() + 1.5
        while written + size < total and time.monotonic() < until:
            number += 1
            if number % 50 == 0:
                ring.lose(3, "hole")
                lost[0] += 3
            ring.write(block(written, size, 2), float(number))
            written += size
        ring.finish()

    thread = threading.Thread(target=writer)
    thread.start()
    deadline = time.monotonic() + 30
    turn = 0
    while not ring.finished and time.monotonic() < deadline:
        turn += 1
        if turn % 50 == 0:
            time.sleep(0.02)  # a worker that is busy elsewhere
        chunk = ring.read(read)
        if chunk is None:
            continue
        ledger.take(chunk)
        np.testing.assert_array_equal(chunk.samples[:, 0], chunk.samples[:, 1])
    thread.join()
    assert ring.finished
    assert ledger.read + ring.shed == ring.captured
    assert ledger.lost == ring.shed + lost[0]
    assert ring.shed > 0, "the writer must overrun the reader, or this shows nothing"


@pytest.mark.usefixtures("fine_switching")
def test_a_waiting_writer_and_a_reader_pass_everything_once() -> None:
    ring = Ring(500, 1, 16000, shed=False)
    total = 200_000

    def writer() -> None:
        written = 0
        while written < total:
            taken = ring.write(block(written, min(173, total - written)), 0.0)
            written += taken
            if not taken:
                ring.writer_wake.wait(0.1)
        ring.finish()

    thread = threading.Thread(target=writer)
    thread.start()
    ledger = Ledger()
    while not ring.finished:
        if (chunk := ring.read(211)) is not None:
            ledger.take(chunk)
    thread.join()
    assert (ledger.read, ledger.lost) == (total, 0)
