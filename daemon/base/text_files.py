"""Reads and writes text files: byte order marks, atomic replacement."""

from __future__ import annotations

import codecs
import contextlib
import os
import tempfile
from pathlib import Path

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(raw: bytes) -> str:
    """Encoding by a byte order mark or a zero byte at the start; else UTF-8."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding
    if len(raw) >= 2 and not raw[1] and raw[0]:
        return "utf-16-le"
    if len(raw) >= 2 and not raw[0] and raw[1]:
        return "utf-16-be"
    return "utf-8"


def decode_text(raw: bytes) -> str:
    """Text of a file in UTF-8, UTF-16 or UTF-32, without byte order mark.

    Raises:
        UnicodeDecodeError: it is in none of them.
    """
    return raw.decode(encoding_of(raw))


def read_text(path: Path) -> str:
    """Text of the file `path`, as `decode_text`.

    Raises: OSError, UnicodeDecodeError.
    """
    return decode_text(path.read_bytes())


def write_text(path: Path, text: str) -> None:
    """Replace the file `path` by `text` in UTF-8, atomically.

    A reader, also one after a power cut or on a full disk, finds the old file or the new one. Lone
    surrogates are written as escapes.

    Raises:
        OSError: it can't be written; the old file is as it was.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file `path` by `content`, as `write_text`."""
    path = path.resolve() if path.is_symlink() else path  # what a link leads to is replaced
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        path.write_bytes(content)
        return
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's names to the disk, where the system can."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # a file system that syncs no folders
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Make sure that the files in `folder` and their names are on the disk.

    Raises:
        OSError: the disk refuses what was written.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
