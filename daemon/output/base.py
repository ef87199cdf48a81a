"""What every output is: told of a run when it opens, then of each message, then closed."""

from __future__ import annotations

from typing import Protocol

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
