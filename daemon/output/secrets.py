"""Passwords and keys from files or variables; never shown or logged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from daemon.base.errors import UserError, os_reason
from daemon.base.text import escaped
from daemon.config import Settings
from daemon.config.lookup import field_of, hints, value_of

LONGEST: Final = 4096


def read_secret(settings: Settings, key: str) -> str:
    """Secret in the file that the setting `key` names, else in its variable.

    Empty if there is no secret.

    Raises: UserError, which does not show it.
    """
    file = value_of(settings, key)
    if not file:
        field = field_of(*key.split("."))
        assert field is not None
        return os.environ.get(str(hints(field)["secret"]), "")
    path = Path(file).expanduser()
    shown = escaped(str(path))
    try:
        with path.open(encoding="utf-8") as opened:
            text = opened.read(LONGEST + 1)
    except OSError as error:
        raise UserError(f"{key} is {shown}, which can't be read ({os_reason(error)})") from None
    except UnicodeDecodeError:
        raise UserError(f"{key} is {shown}, which is not UTF-8 text; save it as UTF-8") from None
    secret = text.rstrip("\r\n")
    if not secret or len(text) > LONGEST or "\n" in secret or "\0" in secret:
        raise UserError(f"{key} is {shown}, which must hold one line and nothing else")
    return secret
