"""The engine: what ends a run, how fast, and with which status."""

from __future__ import annotations

import signal
import sys
import threading
import time

import numpy as np
import pytest
from support.making import speechlike
from support.running import HOP, LABELS, RATE, WINDOW, Kept, Model, Run, balanced

from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.decide import EventSettings
from daemon.messages import (
    Event,
    Gap,
    Message,
    Prediction,
    Status,
    StreamInfo,
    Summary,
)
from daemon.output.base import OutputClosed
from daemon.runtime.engine import DRAIN_SECONDS
from daemon.runtime.lag import LagMonitor, Load
from daemon.runtime.stream_feed import KEEP_SECONDS, StreamFeed
from daemon.runtime.worker import Worker
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings

pytestmark = pytest.mark.timed

if sys.platform == "win32":
    pytest.skip("signals are sent as POSIX does", allow_module_level=True)


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
    wanted = StreamSettings(LABELS, frozenset(), window=WINDOW, hop=HOP)
    streams = [Stream(StreamInfo(name, RATE, 1, live=False), wanted, gates) for name in ("a", "b")]
    told: list[Message] = []
    worker = Worker(
        [StreamFeed(stream, ring) for stream, ring in zip(streams, rings, strict=True)],
        Model().classify,
        gates,
        lambda *messages: told.extend(messages),
        wake,
        max_batch=4,
        hop=HOP,
        lag_warning=0.5,
        lag_limit=2.5,
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
    assert summary.samples_captured == run.source.ring.captured
    assert not run.engine.stuck


def test_what_a_slow_model_leaves_at_the_end_is_shed_and_reported() -> None:
    run = Run(speechlike(60.0), Model(lambda _: 0.4), live=False, max_batch=1)
    status, took = run.run(1.0, signal.SIGINT)
    assert status == 130 and took < 2.0
    summary = run.output.summary
    assert balanced(summary)
    stopped = run.output.of(Gap)[-1]
    assert isinstance(stopped, Gap) and stopped.reason == "stopped"
    assert stopped.samples_lost == summary.samples_shed > 0
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
    run.source.dead = OSError("the cable is cut")
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


@pytest.mark.parametrize(
    ("live", "signals", "expected"),
    [(False, (), 1), (True, (signal.SIGTERM,), 1), (True, (signal.SIGINT,), 130)],
)
def test_what_a_full_disk_cost_is_reported_and_no_success(
    capsys: pytest.CaptureFixture[str], live: bool, signals: tuple[int, ...], expected: int
) -> None:
    def fail(message: Message) -> None:
        raise OSError(28, "No space left on device")

    run = Run(speechlike(3.0), Model(), live=live, output=Kept(fail))
    status, took = run.run(0.7 if signals else None, *signals)
    assert status == expected and took < 2.0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("intentd: kept: ") and "messages lost, no space left on device" in last


def test_statuses_of_the_input_reach_the_outputs() -> None:
    run = Run(speechlike(2.0), Model(), live=True)
    lost = Status(None, "the microphone is lost", "warning")
    run.source.told.append(lost)
    assert run.run()[0] == 0
    assert run.output.of(Status) == [lost]


# ---- too slow -----------------------------------------------------------------------------------


def test_a_model_too_slow_is_reported_bounded_and_recovered_from() -> None:
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


def test_lag_is_reported_once_until_it_changes_or_lasts() -> None:
    monitor = LagMonitor(0.5)
    assert monitor.update(0.4, 0.0) is None
    first = monitor.update(0.6, 1.0)
    assert first is not None and "0.6 s behind" in first.text
    assert monitor.update(2.0, 5.0) is None
    again = monitor.update(3.0, 12.0)
    assert again is not None and "3.0 s behind" in again.text
    assert monitor.update(0.3, 13.0) is None
    back = monitor.update(0.2, 14.0)
    assert back is not None and back.level == "info"
    assert monitor.update(0.2, 15.0) is None


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

    monkeypatch.setattr("daemon.base.signals._has_terminal", lambda: False)
    assert Run(speechlike(2.0), Model(), live=True, output=File()).run(0.7, signal.SIGHUP)[0] == 0
    assert reopened == [True]
    monkeypatch.setattr("daemon.base.signals._has_terminal", lambda: True)
    run = Run(speechlike(30.0), Model(), live=True, output=File())
    status, took = run.run(0.7, signal.SIGHUP)
    assert status == 0 and took < 2.0
    assert reopened == [True] and run.output.summary.windows > 0
