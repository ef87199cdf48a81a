"""Hands messages to outputs, none of which can block the worker.

None can block another output either.

Each output has its own lane (a bounded queue and a thread), since a pipe that nobody empties
must not freeze the dashboard. Live, a full lane sheds what matters least and counts it; in a
replay the publisher waits, so that no line is lost.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence

from daemon import __version__
from daemon.messages import Message, RunInfo, Start, Status
from daemon.output.base import Output, OutputHealth
from daemon.output.lane import CAPACITY, FIRST_RETRY, Lane, LaneState


class Dispatcher:
    """All outputs of a run.

    `lossless`: `publish` waits for a slow output (replay) instead of shedding (live); a failing
    output is never waited for. `on_end()` is called from a lane's thread when an output has ended
    before its time, so that `error` or `reader_gone` is set.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        *,
        lossless: bool,
        on_end: Callable[[], None] = lambda: None,
        capacity: int = CAPACITY,
        first_retry: float = FIRST_RETRY,
    ) -> None:
        def lane(output: Output) -> Lane:
            return Lane(
                output,
                lossless=lossless,
                on_warning=self._warn,
                on_end=on_end,
                capacity=capacity,
                first_retry=first_retry,
            )

        self._new_lane = lane
        self._lanes = [lane(output) for output in outputs]
        self._lost_before: dict[str, int] = {}  # by lanes that were exchanged
        self._failures_before: list[str] = []  # of those

    @property
    def error(self) -> Exception | None:
        """The first defect of an output, which ends the run with status 1."""
        return next((lane.error for lane in self._lanes if lane.error is not None), None)

    @property
    def reader_gone(self) -> bool:
        """Whether standard output's reader closed it; the run ends with 0.

        `| head` closes it after its last line.
        """
        return any(lane.state is LaneState.READER_GONE for lane in self._lanes)

    @property
    def lost(self) -> dict[str, int]:
        """Messages that outputs did not get, by output name; only those above 0."""
        lost = dict(self._lost_before)
        for lane in self._lanes:
            if lane.lost:
                lost[lane.output.name] = lost.get(lane.output.name, 0) + lane.lost
        return lost

    @property
    def failures(self) -> list[str]:
        """Losses of outputs by failures (a full disk), a sentence each; status 1."""
        return self._failures_before + [lane.failure for lane in self._lanes if lane.failure]

    @property
    def troubles(self) -> tuple[str, ...]:
        """Reasons why outputs are switched off at present, a sentence each."""
        return tuple(lane.trouble for lane in self._lanes if lane.trouble)

    @property
    def outputs(self) -> tuple[OutputHealth, ...]:
        """How each output is now."""
        return tuple(lane.health for lane in self._lanes)

    @property
    def pending(self) -> int:
        """Messages that working outputs have still to take."""
        return sum(lane.pending for lane in self._lanes)

    def open(self, run: RunInfo) -> None:
        """Open the outputs in order and start.

        Raises: UserError; the outputs opened before are closed then.
        """
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
            _begin(lane, run)

    def exchange(self, outputs: Sequence[Output], run: RunInfo, timeout: float = 1.0) -> None:
        """Exchange the outputs for `outputs`, in that order, within `timeout`.

        Those that are there already stay as they are, new ones are opened, the others write what
        they hold and are closed. timeout: seconds.

        Raises: UserError if a new one can't be opened; then everything stays as it was.
        """
        there = {id(lane.output): lane for lane in self._lanes}
        opened: list[Output] = []
        try:
            for output in outputs:
                if id(output) not in there:
                    output.open(run)
                    opened.append(output)
        except BaseException:
            for output in opened:
                with contextlib.suppress(Exception):
                    output.close()
            raise
        lanes = [there.get(id(output)) or self._new_lane(output) for output in outputs]
        for lane in lanes:
            if id(lane.output) not in there:
                _begin(lane, run)
        before, self._lanes = self._lanes, lanes
        deadline = time.monotonic() + timeout
        for lane in before:
            if lane not in lanes:
                lane.finish(deadline)
                if lane.failure:
                    self._failures_before.append(lane.failure)
                if lane.lost:
                    name = lane.output.name
                    self._lost_before[name] = self._lost_before.get(name, 0) + lane.lost

    def publish(self, *messages: Message) -> None:
        """Queue messages for all outputs; keeps the order of one calling thread."""
        for lane in self._lanes:
            lane.put(messages)

    def reopen(self) -> None:
        """Reopen files by name, as after a rotation (SIGHUP)."""
        for lane in self._lanes:
            lane.reopen()

    def hurry(self) -> None:
        """From now on `publish` never waits, as when the user wants an end."""
        for lane in self._lanes:
            lane.hurry()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued, then close the outputs in order.

        This takes at most `timeout` seconds and a fifth of a second for each output; what is left
        then is given up and counted in `lost`.
        """
        deadline = time.monotonic() + timeout
        self.hurry()
        for lane in self._lanes:
            lane.finish(max(deadline, time.monotonic() + 0.2))

    def _warn(self, troubled: Lane, sentence: str) -> None:
        """Warn through outputs that show a status, or else on stderr."""
        status = Status(None, sentence, "warning")
        shown = False
        for lane in self._lanes:
            if lane is not troubled and Status in lane.output.takes and lane.working:
                lane.put([status], wait=False)
                shown = True
        if not shown:
            with contextlib.suppress(OSError, ValueError):
                print(f"intentd: {sentence}", file=sys.stderr, flush=True)


def _begin(lane: Lane, run: RunInfo) -> None:
    """Start a lane; its first messages are the live streams' starts."""
    lane.start()
    if run.at is not None:
        about = (run.at, __version__, run.model, run.labels, run.window, run.hop)
        lane.put([Start(stream.name, *about, stream) for stream in run.streams if stream.live])
