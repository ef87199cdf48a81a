"""Recognises errors that mean that disk space or memory ran out."""

from __future__ import annotations

import errno
from collections.abc import Iterator

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SPACE_TEXTS = (
    "no space left",
    "disk quota exceeded",
    "os error 28",  # safetensors, of Rust
    "os error 122",
    "os error 27",  # a limit of the file's size
    "enforce fail at inline_container",  # torch.save
    "pytorchstreamwriter failed",
)
_MEMORY_TEXTS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "os error 12",
    "bad_alloc",
    "enforce fail at alloc_cpu",
    "can't start new thread",
)


def disk_full(error: BaseException) -> bool:
    """Whether an error, or its cause, means a full disk or quota."""
    return any(
        (isinstance(one, OSError) and one.errno in _NO_SPACE) or _says(one, _SPACE_TEXTS)
        for one in _chain(error)
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or one that it came from, says that memory was refused."""
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or _says(one, _MEMORY_TEXTS)
        for one in _chain(error)
    )


def resource_sentence(error: BaseException) -> str:
    """A sentence if `error` is of either kind, else ""."""
    if disk_full(error):
        return "no space is left on the disk; make room, then run the command again"
    if out_of_memory(error):
        return "the system has no memory left for it; close other programs, then run it again"
    return ""


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    # Libraries wrap the system's errors in their own.
    text = str(error).lower() if isinstance(error, Exception) else ""
    return any(wanted in text for wanted in texts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__
