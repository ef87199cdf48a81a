"""Errors that a user can cause, as sentences."""

from __future__ import annotations


class UserError(Exception):
    """One sentence that names the fault and the fix, with an exit status.

    2: nothing could be started (arguments, configuration, input, model); 1: something failed on
    the way.
    """

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


class AccountingError(Exception):
    """Samples that went in and samples accounted for differ: a defect."""


def first_line(error: BaseException, limit: int = 200) -> str:
    """First line of an exception's message, or else the name of its class."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:limit]


def whole_message(error: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(error).split()) or "no reason given"


def os_reason(error: OSError) -> str:
    """The system's words for a failure, without number and path.

    For example "no space left on device".
    """
    return (error.strerror or str(error) or type(error).__name__).lower()
