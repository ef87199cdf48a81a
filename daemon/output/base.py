"""Interface of outputs: opened with a run, given each message, closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from daemon.config import Settings
from daemon.messages import Message, RunInfo

if TYPE_CHECKING:
    from daemon.health.snapshot import Health


class OutputClosed(Exception):  # noqa: N818 - not an error: the reader has had enough
    """The reader of an output closed it, as `| head` does; the run ends.

    It ends quietly.
    """


class MessageDropped(Exception):  # noqa: N818 - of one message; the output itself works
    """A message can't be delivered, however often it is tried.

    Its text is the reason.
    """


@dataclass(frozen=True, slots=True)
class OutputHealth:
    """One output at a moment."""

    name: str
    working: bool
    """Neither switched off after a failure nor ended."""
    lost: int
    """Messages that it did not get."""
    waiting: int
    """Messages in its queue."""
    state: str
    """What it says of itself, for people; empty if it says nothing."""


class Output(Protocol):
    """Receives messages.

    The dispatcher calls all methods of one output from one thread at a time.

    An `OSError` means that the world is at fault (a full disk, a lost file): the dispatcher
    switches the output off, says so, and calls `reopen` and the same `publish` again later.
    `MessageDropped` gives up that message, which is counted and said. `OutputClosed` ends the
    output quietly. Any other exception is a defect and ends the run.
    """

    @property
    def name(self) -> str:
        """How a warning calls this output, for example "JSON lines to out.jsonl"."""
        ...

    @property
    def takes(self) -> frozenset[type]:
        """Types of message that this output takes; others are not queued for it."""
        ...

    def open(self, run: RunInfo) -> None:
        """Make ready. Raises UserError if what the user named cannot be opened."""
        ...

    def publish(self, message: Message) -> None:
        """Take one message, wholly or (on OSError) not at all."""
        ...

    def reopen(self) -> None:
        """Reopen the file by its name, as after a rotation or a failure."""
        ...

    def close(self) -> None:
        """Write what is left and let go. Called once, also after a failure."""
        ...


class ActiveOutput:
    """Base of outputs that do something between messages too."""

    capacity = 1024
    """Messages that wait for it at most."""
    tick_seconds = 1.0
    """How long its lane waits for a message before it calls `tick`."""

    def tick(self) -> None:
        """Do what is due while no message comes.

        OSError switches the output off, as in `Output.publish`.
        """

    @property
    def unfinished(self) -> int:
        """Work left for messages it took, which the end of a replay waits for.

        Any thread may ask.
        """
        return 0

    @property
    def state(self) -> str:
        """What `intentd status` says of it. Any thread may ask."""
        return ""


class Screen(Output, Protocol):
    """An output that draws, on the thread that calls it."""

    def run_until(self, stop: threading.Event, tick: Callable[[], None]) -> None:
        """Draw until `stop` is set, and call `tick` about ten times a second."""
        ...


class RunControls(Protocol):
    """What an output may ask or change of a run; callable by any thread."""

    @property
    def load(self) -> float | None:
        """Recent seconds of work for a second of sound; None if not known yet."""
        ...

    @property
    def paused(self) -> bool:
        """Whether listening was stopped by `pause`."""
        ...

    @property
    def outputs(self) -> tuple[OutputHealth, ...]:
        """How the outputs are."""
        ...

    def health(self) -> Health:
        """How the whole run is."""
        ...

    def warn(self, sentence: str) -> None:
        """Tell the user what went wrong beside the messages."""
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
