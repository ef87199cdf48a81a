"""Threads of a run, their lifecycle, and the handling of failures.

Sources fill rings from their own threads, one worker turns what they hold into messages, and
the dispatcher's lanes hand those to the outputs. The main thread starts them, looks after them,
takes the signals, and ends them in order. Nothing here depends on what kind of sound it is.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from daemon.base.errors import UserError, whole_message
from daemon.base.signals import SecondSignal, Signals
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.messages import RunInfo, Status, StreamInfo
from daemon.output.base import Screen
from daemon.output.dispatch import Dispatcher
from daemon.runtime.observer import Observer
from daemon.runtime.worker import Worker

log = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0
"""What the worker gets after a signal; with STOP_SECONDS and what the outputs get, below 2 s."""
STOP_SECONDS = 0.4
"""How much longer a worker may take to end than it was given."""
FLUSH_SECONDS = 0.4
"""What the outputs get after a signal."""
TICK = 0.25
"""Seconds between two looks at everything that could have died."""


class Ending(enum.Enum):
    """Cause of a run's end."""

    DONE = enum.auto()
    QUIT = enum.auto()
    TERMINATED = enum.auto()
    INTERRUPTED = enum.auto()
    READER_GONE = enum.auto()
    FAILED = enum.auto()
    HUNG = enum.auto()


class AudioInput(Protocol):
    """Source of a run's sound: recordings with their feeder, or a microphone."""

    @property
    def streams(self) -> Sequence[tuple[StreamInfo, Ring]]:
        """The streams it feeds, each with its ring."""
        ...

    @property
    def wake(self) -> Wake:
        """Set when a ring has sound for the worker, which waits for it."""
        ...

    def start(self, on_news: Callable[[], None]) -> None:
        """Start; any thread may call `on_news` when `tick` has news.

        Raises: UserError if nothing can be started.
        """
        ...

    def stop(self) -> None:
        """Stop and finish all rings; may be called twice."""
        ...

    def tick(self, now: float) -> Sequence[Status]:
        """Check devices and threads; return the statuses to publish.

        The main thread calls it every `TICK` seconds. Raises: whatever ended a thread.
        """
        ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def searching(self, now: float) -> bool:
        """Whether a device is away and searched for, at monotonic time `now`."""
        ...

    @property
    def failed(self) -> bool:
        """Something went wrong and was reported to the user: exit status 1."""
        ...


class Engine:
    """One run from its first sample to its exit status.

    wake: set by what the main thread has to handle soon.
    hang_seconds: a batch that takes longer ends the run with status 1.
    lossless: a replay, whose outputs are waited for.
    reload: called on SIGHUP to read the settings again; the statuses that tell the result.
    debug: tracebacks are on stderr, so that no message names --debug.
    """

    def __init__(
        self,
        source: AudioInput,
        worker: Worker,
        dispatcher: Dispatcher,
        run: RunInfo,
        *,
        wake: Wake,
        hang_seconds: float,
        lossless: bool,
        observers: Sequence[Observer] = (),
        reload: Callable[[], Sequence[Status]] = lambda: (),
        debug: bool = False,
    ) -> None:
        self._source = source
        self._worker = worker
        self._dispatcher = dispatcher
        self._run = run
        self._wake = wake
        self._hang_seconds = hang_seconds
        self._lossless = lossless
        self._observers = observers
        self._reload = reload
        self._debug = debug
        self._quit = False
        self.paused = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self.stuck = False
        """A thread could not be ended; the process must end without waiting for it."""

    # ---- what a user asks for -------------------------------------------------------------------

    def quit(self) -> None:
        """End in order, with status 0."""
        self._quit = True
        self._wake.set()

    def pause(self, paused: bool) -> None:
        """Stop listening, or go on."""
        self.paused = paused
        if paused:
            self._source.pause()
        else:
            self._source.resume()

    # ---- the run --------------------------------------------------------------------------------

    def run(self, screen: Screen | None = None) -> int:
        """Run to the end; return the exit status.

        `screen` owns the calling thread meanwhile. After a second SIGINT or SIGTERM it returns with
        `stuck` set; outputs that can't be closed at once are left open.

        Raises: UserError if nothing could be started.
        """
        with Signals(self._hurry, self._wake.set, self._worker.resumed) as signals:
            try:
                self._dispatcher.open(self._run)
                try:
                    self._source.start(self._wake.set)
                    self._thread.start()
                    for observer in self._observers:
                        observer.started()
                    ending = self._watch(signals, screen)
                    for observer in self._observers:
                        observer.stopping()
                    self._end(ending, signals)
                finally:
                    for observer in self._observers:
                        observer.stopping()
                    self._source.stop()
                    self._dispatcher.close(FLUSH_SECONDS)
                return self._conclude(ending, signals)
            except SecondSignal:
                self.stuck = True
                with contextlib.suppress(SecondSignal):
                    self._dispatcher.close(0.0)
                return 130 if signals.ending == signal.SIGINT else 1

    def _hurry(self) -> None:
        """Stop waiting for slow outputs.

        A signal is handled in the main thread, which may be waiting for one at this moment.
        """
        self._dispatcher.hurry()
        self._wake.set()

    def _work(self) -> None:
        try:
            self._worker.run()
        except BaseException as error:
            self._failure = error
        self._wake.set()

    def _watch(self, signals: Signals, screen: Screen | None) -> Ending:
        """Watch the threads until something ends the run."""
        stop = threading.Event()
        endings: list[Ending] = []

        def tick() -> None:
            ending = self._check(signals)
            if ending is not None:
                log.info("the run ends: %s", ending.name)
                endings.append(ending)
                stop.set()

        if screen is not None:
            screen.run_until(stop, tick)
        while not stop.is_set():
            self._wake.wait(TICK)
            tick()
        return endings[0]

    def _check(self, signals: Signals) -> Ending | None:
        """Handle requests and run the observers; return the run's ending, if any."""
        ending = self._ending(signals)
        if ending is not None:
            return ending
        if signals.status:
            signals.status = False
            self._dispatcher.publish(Status(None, self._worker.status_line()))
        if signals.hangup:
            signals.hangup = False
            self._hang_up()
        now = time.monotonic()
        for observer in self._observers:
            observer.tick(now)
        return None if self._poll_source() else Ending.FAILED

    def _hang_up(self) -> None:
        """Reload the settings and reopen files by name (SIGHUP in a daemon)."""
        for observer in self._observers:
            observer.reloading()
        for status in self._reload():
            log.info("reload: %s", status.text)
            self._dispatcher.publish(status)
        self._dispatcher.reopen()
        for observer in self._observers:
            observer.reloaded()

    def _poll_source(self) -> bool:
        """Publish the source's statuses; False if one of its threads has died."""
        try:
            statuses = self._source.tick(time.monotonic())
        except BaseException as error:
            if isinstance(error, SecondSignal):
                raise
            self._failure = error
            return False
        for status in statuses:
            self._dispatcher.publish(status)
        return True

    def _ending(self, signals: Signals) -> Ending | None:
        if self._failure is None:
            self._failure = self._dispatcher.error
        busy = self._worker.busy_since
        checks: list[tuple[bool, Ending]] = [
            (signals.ending == signal.SIGINT, Ending.INTERRUPTED),
            (signals.ending is not None, Ending.TERMINATED),
            (self._failure is not None, Ending.FAILED),
            (self._dispatcher.reader_gone, Ending.READER_GONE),
            (self._quit, Ending.QUIT),
            (self._worker.finished, Ending.DONE),
            (
                busy is not None and time.monotonic() - busy > self._hang_seconds,
                Ending.HUNG,
            ),
        ]
        return next((ending for holds, ending in checks if holds), None)

    # ---- the end --------------------------------------------------------------------------------

    def _end(self, ending: Ending, signals: Signals) -> None:
        match ending:
            case Ending.DONE:
                self._poll_source()  # statuses that came with the end of the sound
                self._flush(signals)
            case Ending.QUIT | Ending.TERMINATED | Ending.INTERRUPTED:
                self._drain()
            case Ending.READER_GONE | Ending.FAILED:
                self._abandon()
            case Ending.HUNG:
                self.stuck = True

    def _conclude(self, ending: Ending, signals: Signals) -> int:
        """Report what failed, now that the terminal is free; the exit status."""
        failures = self._dispatcher.failures
        for sentence in failures:
            _say(sentence + ("; mend that and replay again" if self._lossless else ""))
        if self._failure is None:
            self._failure = self._dispatcher.error
        if self._failure is not None:
            self._report_failure(self._failure)
            return 1
        if ending is Ending.HUNG:
            _say(
                f"the model gave no result for {self._hang_seconds:g} s, so intentd ends; a "
                "smaller model or fewer model.threads may help, model.hang_seconds sets the limit"
            )
            return 1
        if self.stuck and ending is not Ending.READER_GONE:
            _say("the model did not finish its last windows in time, so the summaries are missing")
            if ending is not Ending.INTERRUPTED:
                return 1
        if ending is Ending.INTERRUPTED or signals.ending == signal.SIGINT:
            return 130
        cut_short = ending in {Ending.TERMINATED, Ending.READER_GONE}
        return 1 if failures or (self._source.failed and not cut_short) else 0

    def _flush(self, signals: Signals) -> None:
        """Wait until the outputs have written their queues, however slow."""
        while self._lossless and self._dispatcher.pending and signals.ending is None:
            self._wake.wait(0.02)

    def _drain(self) -> None:
        """Stop the source, process captured sound in time, and count the rest."""
        self._dispatcher.hurry()
        deadline = time.monotonic() + DRAIN_SECONDS
        self._worker.drain(deadline)
        self._source.stop()
        self._worker.close()
        self._thread.join(max(0.0, deadline - time.monotonic()) + STOP_SECONDS)
        self.stuck = self._thread.is_alive()

    def _abandon(self) -> None:
        self._dispatcher.hurry()
        self._worker.abandon()
        self._thread.join(STOP_SECONDS)
        self.stuck = self._thread.is_alive()

    def _report_failure(self, error: BaseException) -> None:
        log.error("the run failed", exc_info=error)
        if isinstance(error, UserError):
            _say(str(error))
            return
        _say(
            f"ended by a failure ({type(error).__name__}: {whole_message(error)})"
            + ("" if self._debug else "; --debug shows where")
        )


def _say(sentence: str) -> None:
    from daemon.base.journal import complain

    complain(sentence)
