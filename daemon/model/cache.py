"""Files in the user's cache: each appears whole or not at all, and a cache that can't be written
costs time, no more."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import tempfile
from pathlib import Path


def directory(kind: str) -> Path:
    """Where files of a kind are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("intentd", appauthor=False) / kind


def put(entry: Path, content: bytes, *, keep: int, first_wins: bool = False) -> None:
    """Write a file in one step; of the files with its suffix the `keep` last used ones stay.

    With `first_wins` a file that is there already stays as it is.
    """
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=entry.parent, prefix=".new-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                Path(file.name).unlink()
                raise
        _place(Path(file.name), entry, first_wins)
        _forget(entry.parent, entry.suffix, keep)


def _place(new: Path, entry: Path, first_wins: bool) -> None:
    if first_wins:
        try:
            os.link(new, entry)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            new.replace(entry)
        new.unlink(missing_ok=True)
    else:
        new.replace(entry)


def _forget(folder: Path, suffix: str, keep: int) -> None:
    entries = sorted(folder.glob(f"*{suffix}"), key=lambda e: e.stat().st_mtime, reverse=True)
    for entry in entries[keep:]:
        entry.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex; read once a process while it does not change."""
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version(package: str) -> str:
    """Of an installed package; "none" if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
