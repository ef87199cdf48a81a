"""Tries whether the programs of [on] are there. None is run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from daemon.base.errors import UserError
from daemon.base.text import escaped, value_text
from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.config.settings import ActionSettings


def find_program(intent: str, action: ActionSettings) -> str:
    """Path of an intent's program; empty for a line of the shell.

    Raises: UserError if there is no such program.
    """
    if action.shell:
        return ""
    name = os.path.expanduser(action.run[0])  # noqa: PTH111 - a bare name stays one
    found = shutil.which(name)
    if found is not None:
        return found
    said = f"[on.{escaped(intent)}] runs {value_text(action.run[0])}, and"
    if Path(name).is_file() and os.sep in name:
        raise UserError(f"{said} that file is not executable; chmod +x makes it so")
    raise UserError(
        f"{said} there is no such program; name one that is installed, or its whole path"
    )


def find_programs(settings: Settings) -> Outcome:
    """All of them. Raises `UserError` for the first that is missing."""
    actions = settings.on.actions
    paths = [find_program(intent, action) for intent, action in actions.items()]
    text = ", ".join(_each(intent, path) for intent, path in zip(actions, paths, strict=True))
    return True, text, ""


def _each(intent: str, path: str) -> str:
    return f"{intent}: {path or 'a line for the shell, not tried'}"
