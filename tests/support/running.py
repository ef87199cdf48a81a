"""Whole runs of the engine: real rings, streams, threads and outputs.

Only the model's speed and its failures are made up.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.messages import (
    MESSAGE_KINDS,
    Level,
    Message,
    RunInfo,
    Status,
    StreamInfo,
    Summary,
)
from daemon.output.dispatch import Dispatcher
from daemon.runtime.engine import Engine
from daemon.runtime.stream_feed import StreamFeed
from daemon.runtime.worker import Worker
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings

RATE = 16000
LABELS = ("yes", "no", "background")
EVERY_TYPE = frozenset(kind.message for kind in MESSAGE_KINDS)
"""What an output takes that takes all messages."""
WINDOW, HOP = 0.5, 0.1


class Model:
    """A model that takes `seconds` a window, or fails.

    `seconds` is a function of the time since the first window.
    """

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
    """A source that plays an array into a ring, `live` or waiting."""

    failed = False

    def __init__(
        self, samples: NDArray[np.float32], wake: Wake, *, live: bool, seconds: float = 4.0
    ) -> None:
        self.info = StreamInfo("test", RATE, 1, live=live)
        self.wake = wake
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
                self.ring.writer_wake.wait(0.1)
        self.ring.finish()

    @property
    def streams(self) -> list[tuple[StreamInfo, Ring]]:
        return [(self.info, self.ring)]

    def start(self, on_news: Callable[[], None]) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)
        self.ring.finish()

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def searching(self, now: float) -> bool:
        return False

    def tick(self, _now: float) -> Sequence[Status]:
        if self.dead is not None:
            raise self.dead
        told, self.told = self.told, []
        return told


class Kept:
    """An output that keeps what it is told, with the time."""

    name = "kept"
    takes = EVERY_TYPE - {Level}

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
        wake, main_wake = Wake(), Wake()
        self.source = Sound(samples, wake, live=live)
        self.dispatcher = Dispatcher([self.output], lossless=not live, on_end=main_wake.set)
        gates = GateBank.load(GateSettings(kind="off"))
        stream = Stream(
            self.source.info,
            StreamSettings(LABELS, frozenset({"background"}), window=WINDOW, hop=HOP),
            gates,
        )
        self.worker = Worker(
            [StreamFeed(stream, self.source.ring)],
            model.classify,
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
            (self.source.info,),
            LABELS,
            frozenset({"background"}),
            (0.7,) * 3,
            "m",
            "b",
            WINDOW,
            HOP,
        )
        self.engine = Engine(
            self.source,
            self.worker,
            self.dispatcher,
            run,
            wake=main_wake,
            hang_seconds=hang,
            lossless=not live,
        )

    def run(self, after: float | None = None, *signals: int) -> tuple[int, float]:
        """Status, and seconds from the first of `signals` to the end.

        The signals are sent after `after` seconds.
        """
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
    shed = summary.samples_shed
    return summary.samples_captured == summary.samples_classified + summary.samples_gated + shed
