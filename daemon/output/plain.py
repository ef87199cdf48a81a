"""Plain lines: one an event, a summary a stream; errors go to stderr.

For runs without a terminal.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TextIO

from daemon.base.descriptor import as_departure, point_to_null
from daemon.base.journal import journal_line, leads_to_journal
from daemon.base.text import screen_text
from daemon.messages import Event, Gap, Message, RunInfo, Start, Status, Summary
from daemon.output.base import OutputClosed
from daemon.output.repeats import Repeats
from daemon.output.words import event_line, gap_line, summary_lines

GAPS_TOGETHER = 5.0
"""Seconds of stream time in which further gaps of one stream and reason become one line."""


@dataclass(slots=True)
class _Tally:
    said_until: float
    held: Gap | None = None
    count: int = 0


class Plain:
    """Events and summaries to `out`, gaps and statuses to `err`.

    `out` is None when standard output belongs to JSON lines: then events and summaries are left
    to those. Nothing that comes from outside reaches the terminal as a control sequence.
    """

    name = "plain lines"
    takes: ClassVar[frozenset[type]] = frozenset({Start, Event, Gap, Status, Summary})

    def __init__(
        self,
        out: TextIO | None,
        err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._terminal = out is not None and out.isatty()
        self._err = sys.stderr if err is None else err
        self._clock = clock
        self._journal = leads_to_journal(self._err)
        self._flood = Repeats()
        self._several = False
        self._intent_width = 0
        self._gaps: dict[tuple[str, str], _Tally] = {}
        self._last_status: Status | None = None
        self._repeats = 0

    def open(self, run: RunInfo) -> None:
        self._several = len(run.streams) > 1 or run.serves
        intents = [label for label in run.labels if label not in run.non_intents]
        self._intent_width = min(24, max((len(screen_text(label)) for label in intents), default=0))

    def publish(self, message: Message) -> None:
        """Print a message.

        Raises: OutputClosed if the reader of `out` went away, OSError if it cannot be written.
        """
        match message:
            case Event():
                line = event_line(
                    message, intent_width=self._intent_width, with_stream=self._several
                )
                self._say(line)
            case Summary():
                self._tell_held(message.stream)
                self._gaps = {k: v for k, v in self._gaps.items() if k[0] != message.stream}
                self._say("\n".join(summary_lines(message)))
            case Gap():
                self._gap(message)
            case Status():
                self._status(message)
            case Start():
                self._several |= message.info.client
            case _:
                pass

    def reopen(self) -> None:
        """Nothing to open: the streams were handed in."""

    def close(self) -> None:
        self._tell_held(None)
        self._tell_repeats()
        held = self._flood.held()
        if held:
            self._write_complaint(f"{held} messages more, like those before", "info")

    def _gap(self, gap: Gap) -> None:
        key = (gap.stream, gap.reason)
        tally = self._gaps.get(key)
        if tally is None or (tally.held is None and gap.start >= tally.said_until):
            self._complain(gap_line(gap), "warning")
            self._gaps[key] = _Tally(gap.end + GAPS_TOGETHER)
            return
        held = tally.held or replace(gap, samples_lost=0)
        lost = held.samples_lost + gap.samples_lost
        tally.held = replace(held, end=gap.end, samples_lost=lost)
        tally.count += 1
        if gap.end >= tally.said_until:
            self._tell_tally(key)

    def _tell_tally(self, key: tuple[str, str]) -> None:
        tally = self._gaps[key]
        if tally.held is not None:
            self._complain(gap_line(tally.held, tally.count), "warning")
            self._gaps[key] = _Tally(tally.held.end + GAPS_TOGETHER)

    def _tell_held(self, stream: str | None) -> None:
        for key in self._gaps:
            if stream is None or key[0] == stream:
                self._tell_tally(key)

    def _status(self, status: Status) -> None:
        if status == self._last_status:
            self._repeats += 1
            return
        self._tell_repeats()
        self._last_status = status
        self._complain(self._status_line(status), status.level)

    def _tell_repeats(self) -> None:
        if self._repeats and self._last_status is not None:
            last = self._last_status
            self._complain(f"{self._status_line(last)} ({self._repeats} times more)", last.level)
        self._repeats = 0

    def _say(self, text: str) -> None:
        if self._out is None:
            return
        try:
            _write(self._out, text)
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):
                point_to_null(self._out.fileno())
            raise OutputClosed from None
        except OSError as error:
            raise (as_departure(error) if self._terminal else error) from None

    def _status_line(self, status: Status) -> str:
        return status_line(status, with_level=not self._journal)

    def _complain(self, text: str, level: str) -> None:
        admitted, held = self._flood.admit(text, self._clock())
        if admitted:
            more = f" ({held} more like it before)" if held else ""
            self._write_complaint(text + more, level)

    def _write_complaint(self, text: str, level: str) -> None:
        line = journal_line(text, level) if self._journal else f"intentd: {text}"
        # Without a stderr there is nobody left to tell.
        with contextlib.suppress(OSError, ValueError):
            _write(self._err, line)


def status_line(status: Status, *, with_level: bool = True) -> str:
    stream = "" if status.stream is None else f"{screen_text(status.stream)}: "
    level = f"{status.level}: " if with_level and status.level in ("warning", "error") else ""
    return f"{level}{stream}{screen_text(status.text)}"


def _write(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
