"""Hands messages to the outputs without ever letting one of them hold up the worker or another.

Each output has a lane (a bounded queue and a thread) of its own, since a pipe that nobody empties
must not freeze the dashboard. Live, a full lane sheds what matters least and counts it; in a
replay the publisher waits, so that no line is lost.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence

from daemon.messages import Message, RunInfo, Status
from daemon.output.base import Output
from daemon.output.lane import CAPACITY, FIRST_RETRY, Lane


class Dispatcher:
    """All outputs of a run.

    `lossless`: `publish` waits for a slow output (replay) instead of shedding (live); a failing
    output is never waited for. `notify()` is called from a lane's thread when `error` or
    `reader_gone` has become true.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        *,
        lossless: bool,
        notify: Callable[[], None] = lambda: None,
        capacity: int = CAPACITY,
        first_retry: float = FIRST_RETRY,
    ) -> None:
        self._lanes = [
            Lane(
                output,
                lossless=lossless,
                warn=self._warn,
                notify=notify,
                capacity=capacity,
                first_retry=first_retry,
            )
            for output in outputs
        ]

    @property
    def error(self) -> Exception | None:
        """The first defect of an output, which ended it; the run ends with status 1."""
        return next((lane.error for lane in self._lanes if lane.error is not None), None)

    @property
    def reader_gone(self) -> bool:
        """The reader of standard output went away, as `| head` does; the run ends with 0."""
        return any(lane.reader_gone for lane in self._lanes)

    @property
    def lost(self) -> dict[str, int]:
        """Messages that outputs did not get, by the output's name; only those above zero."""
        return {lane.output.name: lane.lost for lane in self._lanes if lane.lost}

    @property
    def pending(self) -> int:
        """Messages that working outputs have still to take."""
        return sum(lane.pending for lane in self._lanes)

    def open(self, run: RunInfo) -> None:
        """Open the outputs in order and start. Raises UserError (those opened are closed then)."""
        opened: list[Output] = []
        try:
            for lane in self._lanes:
                lane.output.open(run)
                opened.append(lane.output)
        except BaseException:
            for output in opened:
                with contextlib.suppress(Exception):
                    output.close()
            raise
        for lane in self._lanes:
            lane.start()

    def publish(self, message: Message) -> None:
        """Queue a message for all outputs; keeps the order of one calling thread."""
        for lane in self._lanes:
            lane.put(message)

    def reopen(self) -> None:
        """Reopen files by name, as after a rotation (SIGHUP)."""
        for lane in self._lanes:
            lane.reopen()

    def hurry(self) -> None:
        """From now on `publish` never waits, as when the user wants an end."""
        for lane in self._lanes:
            lane.hurry()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued, then close the outputs in order; at most `timeout` seconds and a
        fifth of a second for each output, then what is left is given up and counted in `lost`."""
        deadline = time.monotonic() + timeout
        self.hurry()
        for lane in self._lanes:
            lane.finish(max(deadline, time.monotonic() + 0.2))

    def _warn(self, troubled: Lane, sentence: str) -> None:
        """Through the outputs that show a status; straight to stderr if there is no other."""
        status = Status(None, sentence, "warning")
        heard = False
        for lane in self._lanes:
            if lane is not troubled and Status not in lane.output.ignores and not lane.failing:
                lane.put(status, wait=False)
                heard = True
        if not heard:
            with contextlib.suppress(OSError, ValueError):
                print(f"intentd: {sentence}", file=sys.stderr, flush=True)
