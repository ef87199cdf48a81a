"""Files of an untrusted model directory: none outside it, none too large."""

from __future__ import annotations

import stat
from pathlib import Path

from daemon.base.errors import UserError, os_reason

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
WEIGHTS = "model.safetensors"

MAX_CONFIG_BYTES = 4 << 20
"""Ten times what a config with ten thousand labels takes."""
MAX_PREPROCESSOR_BYTES = 16 << 20
"""Whisper's older ones carry a mel filter bank as text."""


def inside(directory: Path, name: str) -> Path | None:
    """The file `name` of the model directory, or None if there is none.

    A symlink may not lead out of the directory, except in the hub's cache, whose
    snapshots/REVISION/ links to blobs/ beside it.

    Raises:
        UserError: it is no regular file, or a symlink leads out of the directory.
    """
    path = directory / name
    try:
        real = path.resolve(strict=True)
        home = directory.resolve(strict=True)
        mode = real.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(f"{path} is a link to nothing; fetch or copy the model again") from None
        return None
    except NotADirectoryError:
        return None
    except RuntimeError:  # Path.resolve on a loop of links before Python 3.13
        raise UserError(f"{path} is a loop of links; copy the model again") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is not a regular file; copy the model again")
    if not real.is_relative_to(home) and not _is_hub_blob(home, real):
        raise UserError(
            f"{path} is a link that leads out of the model's directory, which is not followed; "
            "replace it by the file itself"
        )
    return path


def _is_hub_blob(home: Path, real: Path) -> bool:
    repository = home.parent.parent
    return (
        home.parent.name == "snapshots"
        and repository.name.startswith("models--")
        and real.parent == repository / "blobs"
    )


def read_bytes(path: Path, limit: int) -> bytes:
    """Content of a file.

    Raises:
        UserError: the file can't be read, or is larger than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(raw) > limit:
        raise UserError(f"{path} is larger than {limit >> 20} MiB, which no model of ours has")
    return raw


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} can't be read ({os_reason(error)}); check its permissions")
