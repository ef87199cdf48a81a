"""Atomic files in the user's cache; an unwritable one only costs time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import tempfile
from pathlib import Path


def directory(kind: str) -> Path:
    """Cache directory for files of a kind."""
    from platformdirs import user_cache_path

    return user_cache_path("intentd", appauthor=False) / kind


def put(entry: Path, content: bytes, *, keep: int, first_wins: bool = False) -> None:
    """Write a file atomically and keep the newest `keep` with its suffix.

    With `first_wins` an existing file stays as it is.
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
    """SHA-256 of a file's content, in hex; memoised until the file changes."""
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version(package: str) -> str:
    """Version of an installed package, or "none"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
