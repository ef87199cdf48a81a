"""One output's queue and thread: delivers in order, waits out failures, sheds by worth."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from daemon.base.errors import os_reason
from daemon.messages import MESSAGE_KINDS, Message
from daemon.output.base import Output, OutputClosed

CAPACITY = 8192
"""Messages a lane holds: ten seconds of a hundred streams, a few megabytes."""
FIRST_RETRY = 0.5
LONGEST_RETRY = 30.0
"""Seconds between attempts to revive a failing output: doubled from the first to the longest."""


_READER_GONE = frozenset({errno.EPIPE, errno.ENXIO})
"""A pipe that nobody reads any more, or a terminal that has closed: no failure of ours."""


class _Reopen:
    """Stands in the queue where the output is to be reopened."""


_WORTH: dict[type, int] = {kind.message: kind.worth for kind in MESSAGE_KINDS} | {_Reopen: 6}
"""What a full lane drops first: what is worth least."""
_UNCOUNTED = (_Reopen, *(kind.message for kind in MESSAGE_KINDS if not kind.worth))


class Lane:
    """A thread that hands one output its messages.

    `warn(lane, sentence)` is called when the output fails, sheds or is back; `notify()` when it
    ended for good before its time, `error` or `reader_gone` being set by then. Both are called
    without a lock held.
    """

    def __init__(
        self,
        output: Output,
        *,
        lossless: bool,
        warn: Callable[[Lane, str], None],
        notify: Callable[[], None],
        capacity: int = CAPACITY,
        first_retry: float = FIRST_RETRY,
    ) -> None:
        self.output = output
        self.lost = 0
        """Messages that the output did not get, levels aside."""
        self.error: Exception | None = None
        self.reader_gone = False
        self._lossless = lossless
        self._capacity = capacity
        self._warn = warn
        self._notify = notify
        self._first_retry = first_retry
        self._queue: deque[Message | _Reopen] = deque()
        self._changed = threading.Condition()
        self._in_hand = False
        self._failing = False
        self._reason = ""
        self._cause: str | None = None
        self._reader_left = False
        self._lost_before = 0
        """Lost when the failure at hand began."""
        self._costly = False
        """A failure that is over has cost messages."""
        self._try_now = False
        self._closing = False
        self._ended = False
        self._said_slow = False
        self._thread = threading.Thread(target=self._run, name=f"output {output.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        """Queue messages; waits for room only if lossless, allowed to, and the output works."""
        ignored = self.output.ignores
        self._put([message for message in messages if type(message) not in ignored], wait)

    def reopen(self) -> None:
        """Have the output reopened after what is queued by now; at once if it is switched off,
        since whoever asks for it (logrotate) has just made room."""
        with self._changed:
            self._try_now = True
            self._changed.notify_all()
        self._put([_Reopen()], wait=False)

    def hurry(self) -> None:
        """From now on `put` sheds rather than waits, also for those who wait already."""
        with self._changed:
            self._lossless = False
            self._changed.notify_all()

    def finish(self, deadline: float) -> None:
        """Have the queue written and the output closed, by `deadline` (of time.monotonic); what is
        left then counts as lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._abandon()

    def _put(self, messages: Sequence[Message | _Reopen], wait: bool) -> None:
        if not messages:
            return
        say_slow = False
        with self._changed:
            for message in messages:
                while wait and self._full() and self._lossless and not self._stalled():
                    self._changed.notify_all()
                    self._changed.wait()
                if self._ended:
                    self.lost += 1
                    continue
                if self._full():
                    before = self.lost
                    self._shed()
                    slow = self.lost > before and not (self._failing or self._said_slow)
                    self._said_slow |= slow
                    say_slow |= slow
                self._queue.append(message)
            self._changed.notify_all()
        if say_slow:
            self._warn(self, f"{self.output.name}: too slow, messages to it are dropped.")

    @property
    def failing(self) -> bool:
        """Switched off after a failure, or ended."""
        return self._failing or self._ended

    @property
    def trouble(self) -> str | None:
        """Why the output is switched off at this moment, a sentence; None while it works, or
        waits for a reader to come back."""
        if not self._failing or self._reader_left:
            return None
        return f"{self.output.name}: switched off, {self._reason}"

    @property
    def failure(self) -> str | None:
        """What a failure cost by now, a sentence; None if the output got everything, was only too
        slow, or had a reader that went away."""
        if self._cause is None:
            return None
        cost = f"{self.lost} messages lost" if self.lost else "closed with a failure"
        return f"{self.output.name}: {cost}, {self._cause}"

    @property
    def pending(self) -> int:
        """Messages that wait for an output that works."""
        return 0 if self.failing else len(self._queue) + self._in_hand

    def _full(self) -> bool:
        return len(self._queue) >= self._capacity

    def _stalled(self) -> bool:
        return self._failing or self._closing or self._ended

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

    def _abandon(self) -> None:
        left = [message for message in self._queue if not isinstance(message, _UNCOUNTED)]
        self.lost += len(left) + self._in_hand
        self._queue.clear()
        self._in_hand = False
        self._ended = True
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (message := self._take()) is not None:
                if not self._deliver(message):
                    break
            self.output.close()
        except OutputClosed:
            self.reader_gone = True
        except OSError as error:
            self._blame(error)
            self._warn(self, f"{self.output.name}: closed with a failure: {os_reason(error)}.")
        except Exception as error:
            self.error = error
        with self._changed:
            early = not self._closing
            self._abandon()
        if self.reader_gone or self.error is not None:
            with contextlib.suppress(Exception):
                self.output.close()
        if early or self.error is not None:
            self._notify()

    def _take(self) -> Message | _Reopen | None:
        with self._changed:
            while not (self._queue or self._closing):
                self._changed.wait()
            if not self._queue:
                return None
            if self._full():
                self._changed.notify_all()
            message = self._queue.popleft()
            self._in_hand = not isinstance(message, _UNCOUNTED)
            return message

    def _deliver(self, message: Message | _Reopen) -> bool:
        """Hand over one message, however often it takes; False if that failed until the end."""
        pause = self._first_retry
        while True:
            last_try, self._try_now = self._closing, False
            try:
                if self._failing or isinstance(message, _Reopen):
                    self.output.reopen()
                if not isinstance(message, _Reopen):
                    self.output.publish(message)
            except OSError as error:
                self._blame(error)
                if not self._failing:
                    with self._changed:
                        self._failing = True
                        self._lost_before = self.lost
                        self._changed.notify_all()
                    self._warn(
                        self,
                        f"{self.output.name}: switched off, {os_reason(error)}; "
                        f"tried again until that is mended.",
                    )
                if last_try:
                    return False
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._try_now, pause)
                pause = self._first_retry if self._try_now else min(2 * pause, LONGEST_RETRY)
                continue
            with self._changed:
                self._in_hand = False
                recovered, self._failing = self._failing, False
                self._costly |= self._cause is not None and self.lost > self._lost_before
                if not self._costly:
                    self._cause = None
            if recovered:
                self._warn(self, f"{self.output.name}: works again, {self.lost} messages lost.")
            return True

    def _blame(self, error: OSError) -> None:
        self._reason = os_reason(error)
        self._reader_left = error.errno in _READER_GONE
        if not self._reader_left:
            self._cause = self._reason
