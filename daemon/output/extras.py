"""Libraries that only some outputs need, and that may not be installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from daemon.base.errors import UserError


@contextlib.contextmanager
def required(key: str, library: str, extra: str) -> Iterator[None]:
    """Context for the import of an output's module.

    Raises: UserError where `library` is missing, which the setting `key` needs and intentd's
    `extra` brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(("daemon", "train")):
            raise  # a defect of ours
        raise UserError(
            f"{key} needs {library}, which is not installed; install it with "
            f"pip install 'intentd[{extra}]'"
        ) from None
