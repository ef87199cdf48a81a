"""The engine: what ends a run, how fast, and with which status. Real rings, streams, threads and
outputs; only the model's speed and its failures are made up."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from making import speechlike
from numpy.typing import NDArray

from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.decide import EventSettings
from daemon.engine import DRAIN_SECONDS, Engine
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    RunInfo,
    Status,
    StreamInfo,
    Summary,
)
from daemon.output.base import OutputClosed
from daemon.output.dispatch import Dispatcher
from daemon.stream import Stream
from daemon.windowing import GateBank, GateSettings
from daemon.worker import KEEP_SECONDS, LagWatch, Load, Track, Worker

if sys.platform == "win32":
    pytest.skip("signals are sent as POSIX does", allow_module_level=True)

RATE = 16000
LABELS = ("yes", "no", "background")
WINDOW, HOP = 0.5, 0.1


class Model:
    """Answers after `seconds` a window (a function of the time since the first), or fails."""

    def __init__(
        self, seconds: Callable[[float], float] = lambda _: 0.0, fail_after: int | None = None
    ) -> None:
        self.seconds = seconds
        self.fail_after = fail_after
        self.batches: list[int] = []
        self.begun: float | None = None

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.begun is None:
            self.begun = time.monotonic()
        self.batches.append(len(windows))
        if self.fail_after is not None and sum(self.batches) > self.fail_after:
            raise ArithmeticError("the figures are wrong")
        time.sleep(self.seconds(time.monotonic() - self.begun) * len(windows))
        yes = np.clip(np.abs(windows).max(axis=1, keepdims=True) * 3, 0, 0.98)
        return np.hstack([yes, (1 - yes) / 4, (1 - yes) * 3 / 4]).astype(np.float32)


class Sound:
    """A supply that plays an array into a ring: as a microphone does (`live`), or waiting."""

    failed = False

    def __init__(
        self, samples: NDArray[np.float32], wake: Wake, *, live: bool, seconds: float = 4.0
    ) -> None:
        self.info = StreamInfo("test", RATE, 1, live=live)
        self.ring = Ring(round(seconds * RATE), 1, RATE, shed=live, wake=wake)
        self._samples = samples[:, None]
        self._live = live
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self.dead: Exception | None = None
        self.told: list[Status] = []

    def _play(self) -> None:
        begun = time.monotonic()
        block = 320
        at = 0
        while at < len(self._samples) and not self._stopped.is_set():
            if self._live:
                self._stopped.wait(max(0.0, begun + (at + block) / RATE - time.monotonic()))
            taken = self.ring.write(self._samples[at : at + block], time.monotonic())
            at += taken
            if not taken:
                self.ring.wait_for_space(0.1)
        self.ring.finish()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)
        self.ring.finish()

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def tick(self, _now: float) -> Sequence[Status]:
        if self.dead is not None:
            raise self.dead
        told, self.told = self.told, []
        return told


class Kept:
    """An output that keeps what it is told, with the time."""

    name = "kept"
    ignores: frozenset[type] = frozenset({Level})

    def __init__(self, on_message: Callable[[Message], None] = lambda _: None) -> None:
        self.messages: list[tuple[float, Message]] = []
        self.closed = 0
        self._on_message = on_message

    def open(self, run: RunInfo) -> None:
        assert run.labels == LABELS

    def publish(self, message: Message) -> None:
        self._on_message(message)
        self.messages.append((time.monotonic(), message))

    def reopen(self) -> None: ...

    def close(self) -> None:
        self.closed += 1

    def of(self, kind: type) -> list[Message]:
        return [message for _, message in self.messages if type(message) is kind]

    @property
    def summary(self) -> Summary:
        (summary,) = self.of(Summary)
        assert isinstance(summary, Summary)
        return summary


class Run:
    """Everything of one run, put together as the commands do it."""

    def __init__(
        self,
        samples: NDArray[np.float32],
        model: Model,
        *,
        live: bool,
        output: Kept | None = None,
        hang: float = 30.0,
        lag_limit: float = 2.5,
        max_batch: int = 4,
        widest_hop: float = 0.0,
    ) -> None:
        self.output = output or Kept()
        wake, attention = Wake(), Wake()
        self.supply = Sound(samples, wake, live=live)
        self.dispatcher = Dispatcher([self.output], lossless=not live, notify=attention.set)
        gates = GateBank.load(GateSettings(kind="off"))
        stream = Stream(self.supply.info, LABELS, {"background"}, gates, window=WINDOW, hop=HOP)
        self.worker = Worker(
            [Track(stream, self.supply.ring)],
            model,
            gates,
            self.dispatcher.publish,
            wake,
            max_batch=max_batch,
            hop=HOP,
            lag_warning=0.5,
            lag_limit=lag_limit,
            widest_hop=widest_hop,
        )
        run = RunInfo(
            (self.supply.info,),
            LABELS,
            frozenset({"background"}),
            (0.7,) * 3,
            "m",
            "b",
            WINDOW,
            HOP,
        )
        self.engine = Engine(
            self.supply,
            self.worker,
            self.dispatcher,
            run,
            attention=attention,
            hang_seconds=hang,
            lossless=not live,
        )

    def run(self, after: float | None = None, *signals: int) -> tuple[int, float]:
        """Status, and seconds from the first of `signals`, sent `after` seconds, to the end."""
        sent: list[float] = []

        def send() -> None:
            time.sleep(after or 0.0)
            for number in signals:
                sent.append(time.monotonic())
                os.kill(os.getpid(), number)
                time.sleep(0.25)

        sender = threading.Thread(target=send, daemon=True)
        if signals:
            sender.start()
        begun = time.monotonic()
        status = self.engine.run()
        took = time.monotonic() - (sent[0] if sent else begun)
        if signals:
            sender.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return status, took


def balanced(summary: Summary) -> bool:
    shed = summary.extra["samples_shed"]
    return summary.samples_captured == summary.samples_classified + summary.samples_gated + shed


# ---- the ordinary end ---------------------------------------------------------------------------


def test_a_replay_runs_to_its_end_in_order() -> None:
    sound = speechlike(6.0)
    run = Run(sound, Model(), live=False)
    status, _ = run.run()
    assert status == 0
    predictions = run.output.of(Prediction)
    assert len(predictions) == run.output.summary.windows == 60
    assert run.output.messages[-1][1] is run.output.summary
    assert run.output.summary.samples_classified == len(sound)
    assert run.output.closed == 1


def test_windows_of_a_fast_replay_share_batches_and_of_a_live_stream_do_not() -> None:
    fast, live = Model(), Model()
    assert Run(speechlike(8.0), fast, live=False).run()[0] == 0
    assert Run(speechlike(2.0), live, live=True).run()[0] == 0
    assert max(fast.batches) == 4
    assert np.median(live.batches[:-3]) == 1


def test_a_stream_gets_a_turn_when_it_has_something_to_say() -> None:
    wake = Wake()
    gates = GateBank.load(GateSettings(kind="off"))
    rings = [Ring(4 * RATE, 1, RATE, shed=False, wake=wake) for _ in range(2)]
    streams = [
        Stream(StreamInfo(name, RATE, 1, live=False), LABELS, (), gates, window=WINDOW, hop=HOP)
        for name in ("a", "b")
    ]
    told: list[Message] = []
    worker = Worker(
        [Track(stream, ring) for stream, ring in zip(streams, rings, strict=True)],
        Model(), gates, lambda *messages: told.extend(messages), wake,
        max_batch=4, hop=HOP, lag_warning=0.5, lag_limit=2.5,
    )

    def feed(ring: Ring, seconds: float) -> list[str]:
        ring.write(speechlike(seconds)[:, None], 0.0)
        told.clear()
        for _ in range(4):  # a turn takes 0.2 s of two streams
            worker.step()
        return [message.stream for message in told if isinstance(message, Prediction)]

    worker.step()
    assert feed(rings[0], 0.55) == ["a"]
    assert feed(rings[1], 0.55) == ["b"]
    assert feed(rings[1], 0.01) == [] and rings[1].unread == 0.01 * RATE  # not worth a turn
    assert feed(rings[0], 0.1) == ["a"] and rings[1].unread == 0.01 * RATE
    # Another hop ends what was heard, which is padded and told without more sound.
    worker.adopt(hop=2 * HOP, events=EventSettings(), lag_warning=0.5)
    told.clear()
    worker.step()
    assert {m.stream for m in told if isinstance(m, Prediction)} == {"a", "b"}


def test_a_live_event_carries_the_time_of_day() -> None:
    run = Run(speechlike(2.5), Model(), live=True)
    assert run.run()[0] == 0
    events = run.output.of(Event)
    assert events
    for event in events:
        assert isinstance(event, Event) and event.at is not None and event.at.endswith("Z")


def test_waiting_costs_no_processor_time() -> None:
    run = Run(np.zeros(5 * RATE, np.float32), Model(), live=True)
    begun = time.process_time()
    run.run(1.5, signal.SIGTERM)
    assert time.process_time() - begun < 0.6


def test_a_slow_reader_gets_every_line_of_a_replay() -> None:
    slow = Kept(lambda _: time.sleep(0.03))
    run = Run(speechlike(5.0), Model(), live=False, output=slow)
    assert run.run()[0] == 0
    assert len(slow.of(Prediction)) == 50 and slow.summary.windows == 50


# ---- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_drains_and_ends_in_time(number: int, expected: int) -> None:
    run = Run(speechlike(30.0), Model(), live=True)
    status, took = run.run(1.0, number)
    assert status == expected and took < 1.0
    summary = run.output.summary
    assert balanced(summary) and summary.samples_lost == 0
    assert summary.samples_captured == run.supply.ring.captured
    assert not run.engine.stuck


def test_what_a_slow_model_leaves_at_the_end_is_shed_and_told() -> None:
    run = Run(speechlike(60.0), Model(lambda _: 0.4), live=False, max_batch=1)
    status, took = run.run(1.0, signal.SIGINT)
    assert status == 130 and took < 2.0
    summary = run.output.summary
    assert balanced(summary)
    stopped = run.output.of(Gap)[-1]
    assert isinstance(stopped, Gap) and stopped.reason == "stopped"
    assert stopped.samples_lost == summary.extra["samples_shed"] > 0
    assert stopped.end == pytest.approx(summary.seconds)


def test_a_second_signal_ends_at_once() -> None:
    run = Run(speechlike(60.0), Model(lambda _: 30.0), live=False)
    status, took = run.run(0.8, signal.SIGINT, signal.SIGINT)
    assert status == 130
    assert took < 0.25 + DRAIN_SECONDS / 2
    assert run.engine.stuck  # the model still sleeps, so the process has to leave by itself


def test_a_signal_gets_through_although_an_output_is_stuck(
    capsys: pytest.CaptureFixture[str],
) -> None:
    forever = threading.Event()

    def wait(_message: Message) -> None:
        forever.wait(20)

    stuck = Kept(wait)
    run = Run(speechlike(60.0), Model(), live=False, output=stuck)
    status, took = run.run(0.8, signal.SIGTERM)
    forever.set()
    assert status == 0 and took < 2.0


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX only")
def test_sigusr1_asks_for_a_status_line() -> None:
    run = Run(speechlike(3.0), Model(), live=True)
    assert run.run(1.0, signal.SIGUSR1)[0] == 0
    (status,) = run.output.of(Status)
    assert isinstance(status, Status) and "1 of 1 streams going" in status.text


# ---- what goes wrong ----------------------------------------------------------------------------


def test_a_dead_worker_ends_the_run_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(speechlike(60.0), Model(fail_after=10), live=True)
    status, took = run.run()
    assert status == 1 and took < 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "ArithmeticError: the figures are wrong" in lines[0] and "--debug" in lines[0]
    assert run.output.closed == 1
    assert not run.output.of(Summary)


def test_a_hung_model_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(speechlike(60.0), Model(lambda t: 60.0 if t > 0.5 else 0.0), live=True, hang=0.7)
    status, took = run.run()
    assert status == 1 and took < 4
    assert "no result for 0.7 s" in capsys.readouterr().err
    assert run.engine.stuck


def test_a_dead_source_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(speechlike(60.0), Model(), live=True)
    run.supply.dead = OSError("the cable is cut")
    assert run.run()[0] == 1
    assert "the cable is cut" in capsys.readouterr().err


def test_a_defect_in_an_output_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(message: Message) -> None:
        raise ZeroDivisionError("of an output")

    run = Run(speechlike(60.0), Model(), live=True, output=Kept(fail))
    assert run.run()[0] == 1
    assert "ZeroDivisionError: of an output" in capsys.readouterr().err


def test_a_reader_who_leaves_ends_the_run_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    def close(message: Message) -> None:
        raise OutputClosed

    run = Run(speechlike(60.0), Model(), live=False, output=Kept(close))
    status, took = run.run()
    assert status == 0 and took < 3
    assert capsys.readouterr().err == ""


def test_what_the_source_says_reaches_the_outputs() -> None:
    run = Run(speechlike(2.0), Model(), live=True)
    lost = Status(None, "the microphone is lost", "warning")
    run.supply.told.append(lost)
    assert run.run()[0] == 0
    assert run.output.of(Status) == [lost]


# ---- too slow -----------------------------------------------------------------------------------


def test_a_model_too_slow_is_said_bounded_and_recovered_from() -> None:
    seconds = 9.0
    slow_until = 5.0
    model = Model(lambda t: 2 * HOP if t < slow_until else 0.0)
    run = Run(speechlike(seconds), model, live=True, lag_limit=1.5)
    assert run.run()[0] == 0
    begun = run.output.messages[0][0]
    warnings = [
        (at - begun, status) for at, status in run.output.messages if isinstance(status, Status)
    ]
    assert warnings[0][1].level == "warning" and "too slow" in warnings[0][1].text
    assert warnings[0][0] < 2.0
    assert "caught up" in warnings[-1][1].text
    latencies = [p.latency_ms for p in run.output.of(Prediction) if isinstance(p, Prediction)]
    # What may wait in the ring, and a batch before and one of its own.
    assert max(x for x in latencies if x is not None) < 1000 * (1.5 + 2 * 4 * 2 * HOP + 0.5)
    assert latencies[-10] is not None and latencies[-10] < 200
    gaps = [gap for gap in run.output.of(Gap) if isinstance(gap, Gap)]
    assert gaps and all(gap.reason == "shed" for gap in gaps)
    assert sum(gap.samples_lost for gap in gaps) == run.output.summary.samples_lost
    # In few long pieces rather than many short ones.
    assert min(gap.end - gap.start for gap in gaps) > (1.5 - KEEP_SECONDS) * 0.8
    assert balanced(run.output.summary)
    assert run.output.summary.samples_captured == round(seconds * RATE)


def test_lag_is_said_once_until_it_changes_or_lasts() -> None:
    watch = LagWatch(0.5)
    assert watch.look(0.4, 0.0) is None
    first = watch.look(0.6, 1.0)
    assert first is not None and "0.6 s behind" in first.text
    assert watch.look(2.0, 5.0) is None
    again = watch.look(3.0, 12.0)
    assert again is not None and "3.0 s behind" in again.text
    assert watch.look(0.3, 13.0) is None
    back = watch.look(0.2, 14.0)
    assert back is not None and back.level == "info"
    assert watch.look(0.2, 15.0) is None


def test_load_is_work_for_a_second_of_sound() -> None:
    load = Load()
    assert load.value is None
    for second in range(30):
        load.add(0.2, 1.0, float(second))
    assert load.value == pytest.approx(0.2)
    for second in range(30, 90):
        load.add(0.5, 1.0, float(second))
    assert load.value == pytest.approx(0.5, abs=0.01)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX only")
def test_sighup_reopens_files_without_a_terminal_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reopened = []

    class File(Kept):
        def reopen(self) -> None:
            reopened.append(True)

    monkeypatch.setattr("daemon.signals._has_terminal", lambda: False)
    assert Run(speechlike(2.0), Model(), live=True, output=File()).run(0.7, signal.SIGHUP)[0] == 0
    assert reopened == [True]
    monkeypatch.setattr("daemon.signals._has_terminal", lambda: True)
    run = Run(speechlike(30.0), Model(), live=True, output=File())
    status, took = run.run(0.7, signal.SIGHUP)
    assert status == 0 and took < 2.0
    assert reopened == [True] and run.output.summary.windows > 0
