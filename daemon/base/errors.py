"""Errors that a user can cause, as sentences."""

from __future__ import annotations


class UserError(Exception):
    """One sentence that names the thing and the fix; `status` is the exit status it leads to.

    2: nothing could be started (arguments, configuration, input, model); 1: something failed on
    the way.
    """

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


class AccountingError(Exception):
    """Samples that went in and samples accounted for differ: a defect of intentd."""
