"""Calls that hang, as PortAudio's do while a sound server is frozen."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from daemon.base.errors import UserError
from daemon.capture.microphone.time_limit import with_time_limit


@pytest.fixture
def thaw() -> Iterator[threading.Event]:
    """What the hanging call waits for."""
    event = threading.Event()
    yield event
    event.set()
    with_time_limit(lambda: None)  # leaves nothing behind for the next test


def test_a_result_and_an_error_are_passed_on() -> None:
    assert with_time_limit(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        with_time_limit(lambda: 1 // 0)
    assert with_time_limit(lambda: 4) == 4


def test_a_call_that_hangs_is_one_sentence(thaw: threading.Event) -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match="the sound server does not answer: restart it") as caught:
        with_time_limit(thaw.wait, 0.2)
    assert caught.value.status == 2
    assert time.monotonic() - begun < 1.0


def test_no_other_call_is_made_until_it_ends(thaw: threading.Event) -> None:
    with pytest.raises(UserError):
        with_time_limit(thaw.wait, 0.1)
    made: list[int] = []
    with pytest.raises(UserError, match="does not answer"):
        with_time_limit(lambda: made.append(1))
    assert not made
    thaw.set()
    with_time_limit(lambda: made.append(2))
    assert made == [2]


def test_a_signal_ends_the_wait(thaw: threading.Event) -> None:
    class Terminated(BaseException):
        pass

    def handler(_number: int, _frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    begun = time.monotonic()
    try:
        timer.start()
        with pytest.raises(Terminated):
            with_time_limit(thaw.wait, 10.0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begun < 2.0
