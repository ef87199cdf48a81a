"""Errors of a running model."""

from __future__ import annotations

from daemon.base.errors import UserError


class ModelError(UserError):
    """The network gave no usable scores; one sentence, status 1."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, status=1)
