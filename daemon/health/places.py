"""Paths of status sockets: one folder a user, closed to others."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

import platformdirs

from daemon.base.errors import UserError, os_reason

SUFFIX = ".sock"


def folder() -> Path:
    """The user's runtime folder of intentd; it need not exist."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR, as in a container, a folder in /tmp does; its owner is checked.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("intentd", appauthor=False)


def own_folder() -> Path:
    """The folder, made if need be. Raises UserError if it is not ours alone."""
    path = folder()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} can't be made ({os_reason(error)}); set XDG_RUNTIME_DIR to a folder of yours"
        ) from None
    for place in (path.parent, path):
        if place.stat(follow_symlinks=False).st_uid not in {os.getuid(), 0}:
            raise UserError(f"{place} belongs to another user; set XDG_RUNTIME_DIR to your own")
    if not trusted(path):
        raise UserError(f"{path} is open to other users; make it yours alone with chmod 700")
    return path


def trusted(path: Path) -> bool:
    """A folder (no link to one) of this user, in which nobody else may write."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def sockets() -> list[Path]:
    """Sockets in the folder, dead ones included; none in an untrusted folder."""
    path = folder()
    if not trusted(path):
        return []
    try:
        return sorted(
            entry
            for entry in path.iterdir()
            if entry.suffix == SUFFIX and stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
        )
    except OSError:
        return []
