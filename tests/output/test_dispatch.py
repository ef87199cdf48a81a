"""Outputs hold up nobody, and none loses or fails in silence."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.running import EVERY_TYPE

from daemon import __version__
from daemon.base.errors import UserError
from daemon.messages import (
    Event,
    Level,
    Message,
    Prediction,
    RunInfo,
    Start,
    Status,
    StreamInfo,
)
from daemon.output.base import OutputClosed
from daemon.output.dispatch import Dispatcher

pytestmark = pytest.mark.timed

RUN = RunInfo((), ("up",), frozenset(), (0.5,), "m", "b", 1.0, 0.24)


def event(number: int) -> Event:
    return Event("s", f"{number}", number, number + 1, 0.9, number + 1)


class Recorder:
    """A real output that keeps what it gets, and can be told to stall or fail."""

    name = "recorder"

    def __init__(self, name: str = "recorder", takes: frozenset[type] = EVERY_TYPE) -> None:
        self.name = name
        self.takes = takes
        self.got: list[Message] = []
        self.did: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.failure: Callable[[], None] = lambda: None

    def open(self, run: RunInfo) -> None:
        self.did.append("open")

    def publish(self, message: Message) -> None:
        self.go.wait(20)
        self.failure()
        self.got.append(message)

    def reopen(self) -> None:
        self.did.append(f"reopen after {len(self.got)}")

    def close(self) -> None:
        self.did.append("close")


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def full() -> None:
    raise OSError(28, "No space left on device")


def test_every_output_gets_every_message_in_order_and_is_closed() -> None:
    first, second = Recorder(), Recorder(takes=frozenset({Event}))
    dispatcher = Dispatcher([first, second], lossless=True)
    dispatcher.open(RUN)
    messages: list[Message] = [event(i) for i in range(500)]
    messages.insert(250, Level("s", -20.0, -10.0, True, 1.0))
    for message in messages:
        dispatcher.publish(message)
    dispatcher.reopen()
    dispatcher.publish(event(500))
    dispatcher.close(10)
    assert first.got == [*messages, event(500)]
    assert second.got == [event(i) for i in range(501)]
    assert first.did == ["open", "reopen after 501", "close"]
    assert dispatcher.lost == {} and dispatcher.error is None


def test_outputs_of_a_live_run_get_its_start_first() -> None:
    at = "2026-11-01T00:00:00.000Z"
    run = replace(RUN, streams=(StreamInfo("mic", 16000, 1, live=True),), at=at)
    first, later = Recorder(), Recorder()
    dispatcher = Dispatcher([first], lossless=False)
    dispatcher.open(run)
    dispatcher.publish(event(0))
    dispatcher.exchange([first, later], replace(run, hop=0.5))
    dispatcher.publish(event(1))
    dispatcher.close(5)
    start = Start("mic", at, __version__, "m", ("up",), 1.0, 0.24, run.streams[0])
    assert first.got == [start, event(0), event(1)]
    assert later.got == [replace(start, hop=0.5), event(1)]


def test_a_replay_waits_and_loses_nothing() -> None:
    slow = Recorder()
    slow.go.clear()
    dispatcher = Dispatcher([slow], lossless=True, capacity=10)
    dispatcher.open(RUN)
    sent = []

    def work() -> None:
        for number in range(100):
            dispatcher.publish(event(number))
            sent.append(number)

    worker = threading.Thread(target=work)
    worker.start()
    assert until(lambda: len(sent) >= 10)
    time.sleep(0.1)
    assert len(sent) <= 12  # the queue, one in hand, one waiting
    slow.go.set()
    worker.join(10)
    dispatcher.close(10)
    assert slow.got == [event(i) for i in range(100)]


def test_hurry_frees_a_publisher_that_waits() -> None:
    stuck = Recorder()
    stuck.go.clear()
    dispatcher = Dispatcher([stuck], lossless=True, capacity=4)
    dispatcher.open(RUN)

    def publish() -> None:
        for number in range(50):
            dispatcher.publish(event(number))

    worker = threading.Thread(target=publish)
    worker.start()
    time.sleep(0.05)
    assert worker.is_alive()
    dispatcher.hurry()
    worker.join(5)
    assert not worker.is_alive()
    stuck.go.set()
    dispatcher.close(5)


def test_live_sheds_levels_then_predictions_and_keeps_events() -> None:
    stuck, free = Recorder("stuck"), Recorder("free")
    stuck.go.clear()
    dispatcher = Dispatcher([stuck, free], lossless=False, capacity=100)
    dispatcher.open(RUN)
    import numpy as np

    rolling = np.zeros(1, np.float32)
    begun = time.monotonic()
    for i in range(5000):
        dispatcher.publish(Level("s", -20.0, -10.0, True, i))
        dispatcher.publish(Prediction("s", i, i + 1, True, None, rolling, None))
        if i % 100 == 0:
            dispatcher.publish(event(i))
    assert time.monotonic() - begun < 5
    stuck.go.set()
    dispatcher.close(10)
    assert [m for m in stuck.got if isinstance(m, Event)] == [event(i) for i in range(0, 5000, 100)]
    predictions = sum(isinstance(m, Prediction) for m in stuck.got)
    assert dispatcher.lost["stuck"] == 5000 - predictions > 0
    said = [m.text for m in free.got if isinstance(m, Status)]
    assert said == ["stuck: too slow, messages to it are dropped."]
    assert sum(isinstance(m, Event) for m in free.got) == 50


def test_a_failing_output_is_switched_off_once_and_comes_back_where_it_was() -> None:
    broken, sound = Recorder("broken"), Recorder("sound")
    broken.failure = full
    dispatcher = Dispatcher([broken, sound], lossless=True, capacity=50, first_retry=0.02)
    dispatcher.open(RUN)
    for number in range(20):
        dispatcher.publish(event(number))
    assert until(lambda: len(broken.did) >= 4)  # tried again and again
    assert until(lambda: sum(isinstance(m, Event) for m in sound.got) == 20)
    broken.failure = lambda: None
    assert until(lambda: len(broken.got) == 20)
    dispatcher.publish(event(20))
    dispatcher.close(5)
    assert broken.got == [event(i) for i in range(21)]
    said = [m for m in sound.got if isinstance(m, Status)]
    assert [m.level for m in said] == ["warning", "warning"]
    assert said[0].text.startswith("broken: switched off, no space left on device")
    assert said[1].text == "broken: works again, 0 messages lost."
    assert dispatcher.failures == []


def test_a_failing_output_holds_up_no_replay_and_its_losses_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = Recorder("broken")
    broken.failure = full
    dispatcher = Dispatcher([broken], lossless=True, capacity=10)
    dispatcher.open(RUN)
    begun = time.monotonic()
    for number in range(200):
        dispatcher.publish(event(number))
    assert until(lambda: dispatcher.troubles != ())
    assert dispatcher.troubles == ("broken: switched off, no space left on device",)
    dispatcher.close(1)
    assert time.monotonic() - begun < 3
    assert dispatcher.lost == {"broken": 200}
    assert dispatcher.failures == ["broken: 200 messages lost, no space left on device"]
    assert broken.did[-1] == "close"
    # Nobody else could say it.
    assert capsys.readouterr().err.count("switched off") == 1


def test_a_failure_is_not_blamed_for_what_slowness_had_cost() -> None:
    slow = Recorder("slow")
    slow.go.clear()
    dispatcher = Dispatcher([slow], lossless=False, capacity=4, first_retry=0.02)
    dispatcher.open(RUN)
    for number in range(20):
        dispatcher.publish(event(number))
    lost = dispatcher.lost["slow"]
    assert lost > 0
    slow.failure = full
    slow.go.set()
    assert until(lambda: dispatcher.troubles != ())
    slow.failure = lambda: None
    assert until(lambda: dispatcher.troubles == ())
    dispatcher.close(5)
    assert dispatcher.lost == {"slow": lost} and dispatcher.failures == []


def test_a_reopening_is_a_new_try_at_once() -> None:
    broken = Recorder("broken")
    broken.failure = full
    dispatcher = Dispatcher([broken], lossless=False, first_retry=60.0)
    dispatcher.open(RUN)
    dispatcher.publish(event(0), event(1))
    assert until(lambda: dispatcher.troubles != ())
    dispatcher.reopen()
    assert until(lambda: len(broken.did) == 2)  # tried, in vain: there is still no room
    broken.failure = lambda: None
    dispatcher.reopen()
    assert until(lambda: broken.got == [event(0), event(1)])
    assert dispatcher.troubles == ()
    dispatcher.close(5)
    assert dispatcher.failures == []


def test_losses_of_an_output_that_was_exchanged_are_reported_too() -> None:
    broken = Recorder("broken")
    broken.failure = full
    dispatcher = Dispatcher([broken], lossless=False)
    dispatcher.open(RUN)
    dispatcher.publish(event(0))
    assert until(lambda: dispatcher.troubles != ())
    dispatcher.exchange([], RUN)
    assert dispatcher.troubles == ()
    dispatcher.close(1)
    assert dispatcher.failures == ["broken: 1 messages lost, no space left on device"]


def test_a_file_that_fails_when_it_is_closed_is_a_failure() -> None:
    class Remote(Recorder):
        def close(self) -> None:
            raise OSError(5, "Input/output error")

    dispatcher = Dispatcher([Remote("remote")], lossless=True)
    dispatcher.open(RUN)
    dispatcher.publish(event(0))
    dispatcher.close(1)
    assert dispatcher.failures == ["remote: closed with a failure, input/output error"]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENXIO])
def test_a_pipe_whose_reader_left_is_no_failure(number: int) -> None:
    def gone() -> None:
        raise OSError(number, "gone")

    left = Recorder("left")
    left.failure = gone
    dispatcher = Dispatcher([left], lossless=True)
    dispatcher.open(RUN)
    dispatcher.publish(event(0))
    assert until(lambda: "reopen after 0" in left.did)
    assert dispatcher.troubles == ()
    dispatcher.close(1)
    assert dispatcher.lost == {"left": 1} and dispatcher.failures == []


def test_a_closed_reader_and_a_defect_end_their_output_and_are_reported() -> None:
    told = threading.Event()
    closed, wrong, sound = Recorder("closed"), Recorder("wrong"), Recorder("sound")

    def gone() -> None:
        raise OutputClosed

    def defect() -> None:
        raise ZeroDivisionError("a defect")

    closed.failure = gone
    dispatcher = Dispatcher([closed, sound], lossless=True, on_end=told.set)
    dispatcher.open(RUN)
    gone_before = dispatcher.reader_gone
    dispatcher.publish(event(0))
    assert told.wait(5) and dispatcher.reader_gone and dispatcher.error is None
    assert not gone_before
    dispatcher.publish(event(1))
    dispatcher.close(5)
    assert sound.got == [event(0), event(1)] and closed.did[-1] == "close"

    told.clear()
    wrong.failure = defect
    dispatcher = Dispatcher([wrong], lossless=True, on_end=told.set)
    dispatcher.open(RUN)
    dispatcher.publish(event(0))
    assert told.wait(5) and isinstance(dispatcher.error, ZeroDivisionError)
    assert not dispatcher.reader_gone
    dispatcher.close(5)


def test_close_takes_no_longer_than_it_may() -> None:
    stuck, sound = Recorder("stuck"), Recorder("sound")
    stuck.go.clear()
    dispatcher = Dispatcher([stuck, sound], lossless=False)
    dispatcher.open(RUN)
    for number in range(30):
        dispatcher.publish(event(number))
    begun = time.monotonic()
    dispatcher.close(0.3)
    assert time.monotonic() - begun < 1.5
    assert len(sound.got) == 30 and sound.did[-1] == "close"
    assert dispatcher.lost == {"stuck": 30}
    stuck.go.set()


def test_an_output_that_cannot_open_leaves_none_open() -> None:
    class Unopened(Recorder):
        def open(self, run: RunInfo) -> None:
            raise UserError("no such file")

    first = Recorder()
    with pytest.raises(UserError):
        Dispatcher([first, Unopened()], lossless=True).open(RUN)
    assert first.did == ["open", "close"]
