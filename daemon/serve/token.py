"""The token that browsers have to know."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from daemon.base.errors import UserError, os_reason
from daemon.base.text import escaped

SHORTEST: Final = 16


def read_token(file: str) -> str:
    """The token on the first line of a file; empty if `file` is.

    Raises: UserError.
    """
    if not file:
        return ""
    path = Path(file).expanduser()
    try:
        with path.open(encoding="utf-8") as opened:
            token = opened.readline(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = os_reason(error) if isinstance(error, OSError) else "it is no text"
        raise UserError(
            f"serve.token_file is {escaped(str(path))}, which can't be read ({why}); name a file "
            "with the token on its first line"
        ) from None
    if len(token) < SHORTEST:
        raise UserError(
            f"the token in {escaped(str(path))} has {len(token)} characters; give it {SHORTEST} or "
            "more, for example those of `openssl rand -hex 16`"
        )
    return token
