"""The ring between threads: who wakes whom, and no torn samples."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support.ring import Ledger, block

from daemon.capture.ring import Ring
from daemon.capture.wake import Wake


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
    """Let threads interrupt each other far more often than usual."""
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
    """Real threads, a writer at full speed: no torn sample.

    Both columns of a frame carry its position, so that a sample that was overwritten while it
    was read shows. Blocks of 7,000 frames are copied without the interpreter's lock, so the
    copies themselves overlap in time.
    """
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
