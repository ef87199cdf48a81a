"""Public Python interface: load a model, classify, replay, listen.

Its names are exported by `daemon` itself, and imported when they are first used.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daemon.assembly.inputs import open_microphone, open_recording
from daemon.assembly.setup import Setup, prepare
from daemon.assembly.setup import load_model as load_classifier
from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.config import Option, Sources
from daemon.messages import (
    Event,
    Gap,
    Message,
    Prediction,
    RunInfo,
    Status,
    StreamInfo,
    Summary,
    Verdict,
)
from daemon.output.dispatch import Dispatcher
from daemon.runtime.engine import AudioInput
from daemon.runtime.inputs import LiveInput, Recordings
from daemon.stream.segment import Verify
from daemon.vad import GateBank, GateSettings

__all__ = [
    "Event",
    "Gap",
    "Message",
    "Model",
    "Prediction",
    "Run",
    "Status",
    "Summary",
    "UserError",
    "Verdict",
    "load_model",
]

log = logging.getLogger(__name__)

WAITING: Final = 256
"""Messages that may wait for the caller; a replay goes on when one is taken."""
POLL: Final = 0.1
"""Seconds between two polls of the source for statuses."""
PIECE: Final = 30 * RATE
"""Samples of an array that are classified at once, which bounds memory."""


def load_model(path: str | Path = "", *, settings: Mapping[str, Any] | None = None) -> Model:
    """Load a model and run it once.

    Neither config.toml nor the environment is read.

    Args:
        path: a directory, or the id of a model on the hub; "" is the one that comes with intentd.
        settings: keys of config.toml and their values, as in {"gate.kind": "off",
            "events.threshold": 0.8}; the model's own settings and the defaults for the others.

    Raises:
        UserError: there is no such model, it can't be used, or a setting is wrong.
    """
    options = [Option(key, key, value) for key, value in (settings or {}).items()]
    options.append(Option("model.path", "path", str(path)))
    setup = prepare(
        Sources(options=tuple(options), search=False),
        environ={},
        on_warning=lambda sentence: log.warning("%s", sentence),
    )
    return Model(setup)


class Model:
    """A loaded model with its settings; `load_model` makes it.

    Any number of runs may go on at the same time, from any threads; they take turns at the model.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._classifier = load_classifier(setup)
        self._verify = self._classifier.verifier
        self._turn = threading.Lock()
        self.labels: tuple[str, ...] = setup.info.labels
        """In the order of scores."""
        self.non_intents: frozenset[str] = setup.info.non_intents
        """Labels that never are an event, such as "unknown"."""
        self.backend: str = self._classifier.backend

    def classify(self, samples: ArrayLike, rate: int = RATE) -> NDArray[np.float32]:
        """Scores of an array of sound: one window every hop, silence included.

        A recording goes through the same resampling and filtering, so that scores are the same;
        the end is padded with zeros.

        Args:
            samples: shape (n,) or (n, channels), which are averaged; floats in [-1, 1] or integers.
            rate: samples a second.

        Returns:
            Probabilities, shape (windows, labels).
        """
        mono = _mono(samples)
        gates = GateBank(GateSettings(kind="off"))
        info = StreamInfo("array", rate, 1, live=False)
        stream = self._setup.new_stream(info, gates, verify=self._verify)
        ring = Ring(max(1, min(len(mono), PIECE)), 1, rate, shed=False)
        rows = [np.zeros((0, len(self.labels)), np.float32)]
        at = 0
        while True:
            at += ring.write(mono[at : at + PIECE, None], 0.0) if at < len(mono) else 0
            chunk = ring.read(PIECE)
            if chunk is not None:
                stream.feed(chunk)
            else:
                stream.finish()
            due = stream.due()
            if due:
                rows.append(self._scores(np.stack([window.samples for window in due])))
                for window, row in zip(due, rows[-1], strict=True):
                    stream.resolve(window, row, 0.0)
            stream.take()
            if chunk is None:
                return np.concatenate(rows)

    def replay(self, *recordings: str | Path, speed: float | None = None) -> Iterator[Message]:
        """Messages of recordings, replayed side by side as streams.

        They are `Prediction`, `Event`, `Gap`, `Status`, and a `Summary` at the end of each.

        Args:
            recordings: files that libsndfile reads.
            speed: 1.0 is their own pace; None is as fast as the messages are taken.

        Raises:
            UserError: a recording can't be opened. One that is cut short or damaged further on
                gives a `Status` with the level "error" instead.
        """
        audio = self._setup.settings.audio
        opened = [open_recording(str(path), audio) for path in recordings]
        source = Recordings(opened, speed, block_ms=audio.block_ms)
        with Run(self._setup, self._scores, self.backend, source, self._verify) as run:
            yield from run

    def listen(self, device: str | int = "") -> Run:
        """Messages from a microphone, to be used in a `with` block.

        Args:
            device: the microphone's index, or a part of its name; "" is the one of the settings,
                or the system's default.

        Raises:
            UserError: there is no such microphone, or entering the block can't open it.
        """
        audio = self._setup.settings.audio
        if device != "":
            audio = audio.model_copy(update={"device": device})
        wake = Wake()
        source = LiveInput(open_microphone(audio, wake), wake)
        return Run(self._setup, self._scores, self.backend, source, self._verify)

    def _scores(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._turn:
            return self._classifier.classify(windows)


class Run:
    """Iterator over a run's messages, and a context manager that ends the run.

    A `Summary` is the last message of each stream; iteration then ends.
    """

    def __init__(
        self,
        setup: Setup,
        classify: Any,
        backend: str,
        source: AudioInput,
        verify: Verify | None = None,
    ) -> None:
        live = any(info.live for info, _ in source.streams)
        self._source = source
        self._messages = _MessageQueue()
        self._dispatcher = Dispatcher([self._messages], lossless=not live)
        self._worker = setup.new_worker(
            source.streams,
            classify,
            setup.load_gates(),
            self._dispatcher.publish,
            source.wake,
            verify=verify,
            lag_limit=setup.settings.audio.buffer_seconds,
            widest_hop=setup.settings.window.widest_hop,
        )
        self._info = setup.run_info(source.streams, backend)
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._failure: BaseException | None = None
        self._next_poll = 0.0

    def __enter__(self) -> Self:
        self._dispatcher.open(self._info)
        try:
            self._source.start(lambda: None)
        except BaseException:
            self._source.stop()
            self._dispatcher.close(0.0)
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.abandon()
        self._source.stop()
        self._messages.end()
        self._thread.join(2.0)
        self._dispatcher.close(0.2)

    def stop(self) -> None:
        """Stop listening; iteration ends with the summary.

        What was captured is still processed. Any thread may call it.
        """
        self._source.stop()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        """Raises whatever ended the worker or the source."""
        while True:
            now = time.monotonic()
            if now >= self._next_poll:
                self._poll_source(now)
            going = self._thread.is_alive() or self._dispatcher.pending
            message = self._messages.next(POLL if going else 0.0)
            if message is not None:
                return message
            if going:
                continue
            if self._next_poll < math.inf:  # statuses that came with the end of the sound
                self._poll_source(now)
                self._next_poll = math.inf
                continue
            if self._failure is not None:
                raise self._failure
            raise StopIteration

    def _poll_source(self, now: float) -> None:
        self._next_poll = now + POLL
        for status in self._source.tick(now):
            self._dispatcher.publish(status)

    def _work(self) -> None:
        try:
            self._worker.run()
        except BaseException as error:
            self._failure = error


class _MessageQueue:
    """The output of a `Run`: keeps messages until the caller takes them."""

    name = "the caller"
    takes: frozenset[type] = frozenset({Prediction, Event, Gap, Status, Summary})

    def __init__(self) -> None:
        self._queue: queue.Queue[Message] = queue.Queue(WAITING)
        self._ended = False

    def next(self, seconds: float) -> Message | None:
        """The next message, if one comes within `seconds`."""
        try:
            return self._queue.get(timeout=seconds) if seconds else self._queue.get_nowait()
        except queue.Empty:
            return None

    def end(self) -> None:
        """Take no more messages, also from one who waits for room."""
        self._ended = True

    def open(self, run: RunInfo) -> None:
        """Nothing to open."""

    def publish(self, message: Message) -> None:
        while not self._ended:
            try:
                self._queue.put(message, timeout=POLL)
                return
            except queue.Full:
                continue

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""


def _mono(samples: ArrayLike) -> NDArray[np.float32]:
    """Sound as float32, shape (n,). ValueError for another shape or type."""
    array = np.asarray(samples)
    if array.ndim not in {1, 2}:
        raise ValueError(f"samples have {array.ndim} dimensions; give (n,) or (n, channels)")
    if np.issubdtype(array.dtype, np.integer):
        array = array / -float(np.iinfo(array.dtype).min or -np.iinfo(array.dtype).max)
    elif not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"samples are {array.dtype}; give floats or integers")
    mono = array if array.ndim == 1 else array.mean(axis=1)
    return np.ascontiguousarray(mono, dtype=np.float32)
