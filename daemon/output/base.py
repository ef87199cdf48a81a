"""The interface of outputs: each is opened with a run, gets every message, and is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from daemon.config import Settings
from daemon.messages import Message, RunInfo


class OutputClosed(Exception):  # noqa: N818 - not an error: the reader has had enough
    """The reader of an output went away for good, as `| head` does; the run ends quietly."""


class Output(Protocol):
    """Where messages go. The dispatcher calls all methods of one output from one thread at a time.

    An `OSError` means that the world is at fault (a full disk, a lost file): the dispatcher
    switches the output off, says so, and calls `reopen` and the same `publish` again later.
    `OutputClosed` ends the output quietly. Any other exception is a defect and ends the run.
    """

    @property
    def name(self) -> str:
        """How a warning calls this output, for example "JSON lines to out.jsonl"."""
        ...

    @property
    def ignores(self) -> frozenset[type]:
        """Types of message this output does nothing with; they are not even queued for it."""
        ...

    def open(self, run: RunInfo) -> None:
        """Make ready. Raises UserError if what the user named cannot be opened."""
        ...

    def publish(self, message: Message) -> None:
        """Take one message, wholly or (on OSError) not at all."""
        ...

    def reopen(self) -> None:
        """Let go of the file and open it by name again, as after a rotation or a failure."""
        ...

    def close(self) -> None:
        """Write what is left and let go. Called once, also after a failure."""
        ...


class Screen(Output, Protocol):
    """An output that draws, on the thread that calls it."""

    def run_until(self, stop: threading.Event, tick: Callable[[], None]) -> None:
        """Draw until `stop` is set, and call `tick` about ten times a second."""
        ...


class RunControls(Protocol):
    """What an output may ask of the run, and do to it, once the run has begun. Any thread may
    call."""

    @property
    def load(self) -> float | None:
        """Seconds of work for a second of sound, lately; None while that is not known."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop listening, or go on."""
        ...

    def quit(self) -> None:
        """End the run, as SIGINT would, but with status 0."""
        ...


@dataclass(slots=True)
class OutputContext:
    """What a factory makes an output from."""

    settings: Settings
    controls: RunControls
    screen: Screen | None = None
    """Set by the factory of an output that draws; the main thread runs it."""
