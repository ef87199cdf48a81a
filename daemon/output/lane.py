"""One output's queue and thread: ordered delivery, retries, shedding.

What is worth least is shed first.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.base.errors import os_reason
from daemon.messages import MESSAGE_KINDS, Message
from daemon.output.base import ActiveOutput, MessageDropped, Output, OutputClosed, OutputHealth

log = logging.getLogger(__name__)

CAPACITY = 8192
"""Messages a lane holds: ten seconds of a hundred streams, a few megabytes."""
FIRST_RETRY = 0.5
LONGEST_RETRY = 30.0
"""Seconds between attempts to revive a failing output: doubled from the first to the longest."""


_READER_GONE = frozenset({errno.EPIPE, errno.ENXIO})
"""A pipe that nobody reads any more, or a terminal that has closed: no failure of ours."""


class LaneState(enum.Enum):
    """State of a lane's output."""

    WORKING = enum.auto()
    FAILING = enum.auto()
    """Switched off after an OSError, and tried again now and then."""
    READER_GONE = enum.auto()
    """Ended, since its reader went away."""
    DEFECT = enum.auto()
    """Ended by an exception that is a defect."""
    CLOSED = enum.auto()


@dataclass(slots=True)
class _Failure:
    """An output's failure, from the first OSError until it works again."""

    lost_before: int
    """Messages that were lost before it began."""
    reason: str = ""
    """Of the last attempt."""
    reader_left: bool = False
    """The last attempt failed because nobody reads."""
    cause: str | None = None
    """Of the last attempt that failed otherwise; None if all failed because nobody reads."""


class _Reopen:
    """Stands in the queue where the output is to be reopened."""


class _Tick:
    """Placeholder for a message, so that an active output is called in time."""


_WORTH: dict[type, int] = {kind.message: kind.worth for kind in MESSAGE_KINDS} | {_Reopen: 6}
"""What a full lane drops first: what is worth least."""
_UNCOUNTED = (_Reopen, _Tick, *(kind.message for kind in MESSAGE_KINDS if not kind.worth))


class Lane:
    """A queue and a thread that hand one output its messages.

    `on_warning(lane, sentence)` is called when the output fails, drops messages or works again;
    `on_end()` when it ended before its time, by a defect or because its reader went away. Both are
    called without a lock held.
    """

    def __init__(
        self,
        output: Output,
        *,
        lossless: bool,
        on_warning: Callable[[Lane, str], None],
        on_end: Callable[[], None],
        capacity: int = CAPACITY,
        first_retry: float = FIRST_RETRY,
    ) -> None:
        self.output = output
        self.state = LaneState.WORKING
        self.error: Exception | None = None
        """The defect that ended it."""
        self.lost = 0
        """Messages that the output did not get, levels aside."""
        self._active = output if isinstance(output, ActiveOutput) else None
        self._lossless = lossless
        self._capacity = capacity if self._active is None else self._active.capacity
        self._on_warning = on_warning
        self._on_end = on_end
        self._first_retry = first_retry
        self._pause = first_retry
        """Seconds to the next attempt of an output that fails."""
        self._queue: deque[Message | _Reopen] = deque()
        self._changed = threading.Condition()
        self._in_hand = False
        self._failure: _Failure | None = None
        self._cost: str | None = None
        """Reason of a failure that is over and has cost messages, or why the last was dropped."""
        self._try_now = False
        self._closing = False
        self._warned_slow = False
        self._thread = threading.Thread(target=self._run, name=f"output {output.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        """Queue messages; wait for room only if lossless and the output works.

        It waits only if waiting is allowed, too.
        """
        taken = self.output.takes
        self._put([message for message in messages if type(message) in taken], wait)

    def reopen(self) -> None:
        """Reopen the output after what is queued now.

        At once if it is switched off, since whoever asks for it (logrotate) has just made room.
        """
        with self._changed:
            self._try_now = True
            self._changed.notify_all()
        self._put([_Reopen()], wait=False)

    def hurry(self) -> None:
        """Shed from now on rather than wait, also for those who wait already."""
        with self._changed:
            self._lossless = False
            self._changed.notify_all()

    def finish(self, deadline: float) -> None:
        """Write the queue and close the output by `deadline` (time.monotonic).

        What is left then counts as lost.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._end(LaneState.CLOSED)

    @property
    def working(self) -> bool:
        """Neither switched off after a failure nor ended."""
        return self.state is LaneState.WORKING

    @property
    def trouble(self) -> str | None:
        """Sentence on why the output is switched off now.

        None while it works, or waits for a reader to come back.
        """
        failure = self._failure
        if self.state is not LaneState.FAILING or failure is None or failure.reader_left:
            return None
        return f"{self.output.name}: switched off, {failure.reason}"

    @property
    def failure(self) -> str | None:
        """Sentence on what failures have cost by now.

        None if the output got everything, was only too slow, or had a reader that went away.
        """
        failure = self._failure
        cause = self._cost if failure is None or failure.cause is None else failure.cause
        if cause is None:
            return None
        cost = f"{self.lost} messages lost" if self.lost else "closed with a failure"
        return f"{self.output.name}: {cost}, {cause}"

    @property
    def pending(self) -> int:
        """Messages that wait for a working output, and its unfinished work."""
        unfinished = 0 if self._active is None else self._active.unfinished
        with self._changed:  # a message is taken from the queue and in hand at once
            return len(self._queue) + self._in_hand + unfinished if self.working else 0

    @property
    def health(self) -> OutputHealth:
        """How the output is now."""
        with self._changed:
            waiting = len(self._queue) + self._in_hand
        state = "" if self._active is None else self._active.state
        return OutputHealth(self.output.name, self.working, self.lost, waiting, state)

    # ---- messages in ----------------------------------------------------------------------------

    def _put(self, messages: Sequence[Message | _Reopen], wait: bool) -> None:
        if not messages:
            return
        slow = False
        with self._changed:
            for message in messages:
                while wait and self._full() and self._lossless and self._drains():
                    self._changed.notify_all()
                    self._changed.wait()
                if self._ended:
                    self.lost += 1
                    continue
                if self._full():
                    before = self.lost
                    self._shed()
                    slow |= self.lost > before and self.working and not self._warned_slow
                    self._warned_slow |= slow
                self._queue.append(message)
            self._changed.notify_all()
        if slow:
            self._on_warning(self, f"{self.output.name}: too slow, messages to it are dropped.")

    def _full(self) -> bool:
        return len(self._queue) >= self._capacity

    def _drains(self) -> bool:
        """Whether the queue is being emptied, so that waiting for room ends."""
        return self.working and not self._closing

    @property
    def _ended(self) -> bool:
        return self.state not in {LaneState.WORKING, LaneState.FAILING}

    def _shed(self) -> None:
        # One pass frees many places, so that a stuck output costs the publisher next to nothing.
        least = min(_WORTH[type(message)] for message in self._queue)
        limit = max(1, self._capacity // 4)
        kept: deque[Message | _Reopen] = deque()
        shed = 0
        for message in self._queue:
            if shed < limit and _WORTH[type(message)] == least:
                shed += 1
            else:
                kept.append(message)
        self._queue = kept
        if least > 0:
            self.lost += shed

    def _end(self, state: LaneState) -> None:
        """Give up what is queued, and be in `state` unless ended already."""
        left = [message for message in self._queue if not isinstance(message, _UNCOUNTED)]
        self.lost += len(left) + self._in_hand
        self._queue.clear()
        self._in_hand = False
        if not self._ended:
            self.state = state
        self._changed.notify_all()

    # ---- the lane's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        state = LaneState.CLOSED
        try:
            while (message := self._take()) is not None:
                if not self._deliver(message):
                    break
            self.output.close()
        except OutputClosed:
            state = LaneState.READER_GONE
        except OSError as error:
            self._note(error)
            self._on_warning(
                self, f"{self.output.name}: closed with a failure: {os_reason(error)}."
            )
        except Exception as error:
            self.error = error
            state = LaneState.DEFECT
        with self._changed:
            early = not self._closing
            self._end(state)
        if state is not LaneState.CLOSED:
            with contextlib.suppress(Exception):
                self.output.close()
        if early or self.error is not None:
            self._on_end()

    def _take(self) -> Message | _Reopen | _Tick | None:
        with self._changed:
            idle = None if self._active is None else self._active.tick_seconds
            self._changed.wait_for(lambda: self._queue or self._closing, idle)
            if not self._queue:
                return None if self._closing else _Tick()
            if self._full():
                self._changed.notify_all()
            message = self._queue.popleft()
            self._in_hand = not isinstance(message, _UNCOUNTED)
            return message

    def _deliver(self, message: Message | _Reopen | _Tick) -> bool:
        """Deliver one message with retries; False if it failed until the end."""
        while True:
            last_try, self._try_now = self._closing, False
            try:
                self._hand_over(message)
            except MessageDropped as reason:
                self._dropped(str(reason))
            except OSError as error:
                self._note(error)
                self._switch_off(error)
                if last_try:
                    return isinstance(message, _Tick)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._try_now, self._pause)
                longer = min(2 * self._pause, LONGEST_RETRY)
                self._pause = self._first_retry if self._try_now else longer
                if isinstance(message, _Tick):
                    return True  # the next message, or tick, is the next attempt
                continue
            self._delivered()
            return True

    def _hand_over(self, message: Message | _Reopen | _Tick) -> None:
        if self.state is LaneState.FAILING or isinstance(message, _Reopen):
            self.output.reopen()
        if isinstance(message, _Tick):
            assert self._active is not None
            self._active.tick()
        elif not isinstance(message, _Reopen):
            self.output.publish(message)

    def _switch_off(self, error: OSError) -> None:
        with self._changed:
            if self.state is not LaneState.WORKING:
                return
            self.state = LaneState.FAILING
            self._changed.notify_all()
        log.info("%s is switched off: %s", self.output.name, error)
        self._on_warning(
            self,
            f"{self.output.name}: switched off, {os_reason(error)}; tried again until that is "
            "mended.",
        )

    def _dropped(self, reason: str) -> None:
        with self._changed:
            self.lost += 1
            self._cost = reason
        log.info("%s dropped a message: %s", self.output.name, reason)
        self._on_warning(self, f"{self.output.name}: a message is dropped, {reason}.")

    def _delivered(self) -> None:
        self._pause = self._first_retry
        with self._changed:
            self._in_hand = False
            failure, self._failure = self._failure, None
            if failure is not None and failure.cause and self.lost > failure.lost_before:
                self._cost = failure.cause
            recovered = self.state is LaneState.FAILING
            if recovered:
                self.state = LaneState.WORKING
        if recovered:
            log.info("%s works again, %d messages lost", self.output.name, self.lost)
            self._on_warning(self, f"{self.output.name}: works again, {self.lost} messages lost.")

    def _note(self, error: OSError) -> None:
        """Keep the reason of a failed attempt."""
        if self._failure is None:
            self._failure = _Failure(lost_before=self.lost)
        failure = self._failure
        failure.reason = os_reason(error)
        failure.reader_left = error.errno in _READER_GONE
        if not failure.reader_left:
            failure.cause = failure.reason
