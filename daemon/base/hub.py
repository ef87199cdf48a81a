"""Names of models on the Hugging Face hub, and whether the hub answers."""

from __future__ import annotations

import re
import threading
from pathlib import Path

PREFIX = "hub:"
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_FILE_SUFFIX = re.compile(r"\.[A-Za-z]\w{1,10}", re.ASCII)


def hub_id(name: str, folder: Path | None = None) -> str | None:
    """The id "owner/name" on the hub, or None if `name` looks like a path.

    "hub:owner/name" always is one. A bare "owner/name" is a path if there is a file or folder
    `owner` in `folder` (None: the working directory), if `owner` has a dot, or if it ends like a
    file ("words/a.csv").
    """
    bare = name.removeprefix(PREFIX)
    if not _ID.fullmatch(bare) or ".." in bare or "--" in bare:
        return None
    if bare != name:
        return bare
    owner = bare.partition("/")[0]
    try:
        local = ((folder or Path()) / owner).exists()
    except OSError:
        local = True
    local = local or "." in owner or bool(_FILE_SUFFIX.fullmatch(Path(bare).suffix))
    return None if local else bare


def hub_answers(seconds: float = 5.0) -> bool:
    """Whether the hub (or HF_ENDPOINT) answers within `seconds`.

    It is asked once and without retries, where its library would try for half a minute. False
    offline (HF_HUB_OFFLINE).
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=seconds)
        except Exception:  # of whichever HTTP client the hub's library uses
            return
        answered.set()

    # A thread, since no timeout of the client bounds the look-up of the host's name.
    thread = threading.Thread(target=ask, daemon=True, name="hub")
    thread.start()
    thread.join(seconds)
    return answered.is_set()
