"""Cache of the backends that "auto" chose, for later runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from daemon.model import cache

_SUFFIX = ".choice"
_KEPT = 64
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Trial:
    """One backend, tried on the model."""

    backend: str
    """Its name in the settings."""
    alone_ms: float | None = None
    """A window by itself."""
    together_ms: float | None = None
    """A window in a batch, the batch's time over its windows."""
    difference: float | None = None
    """Largest difference of a probability from torch in float32, 0 to 1."""
    refused: str = ""
    """Why it is passed over; empty if it is not."""

    def text(self) -> str:
        if self.alone_ms is None or self.together_ms is None:
            return f"{self.backend} passed over: {self.refused}"
        times = f"{self.backend} {self.alone_ms:.1f} and {self.together_ms:.1f} ms"
        return f"{times}, passed over: {self.refused}" if self.refused else times


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend that "auto" stands for, and why."""

    backend: str
    why: str
    """One clause."""
    batch: int = 1
    """Windows of the batch that was timed."""
    trials: tuple[Trial, ...] = ()
    remembered: bool = False
    """An earlier run found it out."""

    def text(self) -> str:
        """For people, in one line: the choice, why, and what else was tried."""
        head = f"{self.backend}, {self.why}"
        if not self.trials:
            return head
        when = "measured by an earlier run" if self.remembered else "measured now"
        each = "; ".join(trial.text() for trial in self.trials)
        return f"{head}, {when}: a window alone and among {self.batch}: {each}"


def cache_directory() -> Path:
    """Cache directory of the choices."""
    return cache.directory("choices")


def entry(parts: tuple[str, ...]) -> Path:
    """The file of a choice that depends on `parts`."""
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
    return cache_directory() / (name + _SUFFIX)


def recall(path: Path) -> Choice | None:
    """Choice of an earlier run; None if there is none, or its file is damaged."""
    try:
        with path.open("rb") as file:
            table = json.loads(file.read(_LARGEST))
        found = _choice(table)
        path.touch()  # recently used
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found


def remember(path: Path, choice: Choice) -> Choice:
    """Store a choice for later runs, and return the one that is stored.

    A choice that another process stored meanwhile for the same case wins.
    """
    if recall(path) is None:
        forget(path)  # damaged
    content = json.dumps(asdict(choice), indent=1).encode()
    cache.put(path, content, keep=_KEPT, first_wins=True)
    kept = recall(path)
    return choice if kept is None or kept.backend == choice.backend else kept


def forget(path: Path) -> None:
    """A choice that can't be followed any more."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _choice(table: dict[str, Any]) -> Choice:
    trials = tuple(_trial(each) for each in table["trials"])
    backend, why, batch = table["backend"], table["why"], table["batch"]
    if not (isinstance(backend, str) and isinstance(why, str) and isinstance(batch, int)):
        raise TypeError
    return replace(Choice(backend, why, batch, trials), remembered=True)


def _trial(table: dict[str, Any]) -> Trial:
    found = Trial(**table)
    figures = (found.alone_ms, found.together_ms, found.difference)
    if not (isinstance(found.backend, str) and isinstance(found.refused, str)):
        raise TypeError
    if not all(value is None or isinstance(value, int | float) for value in figures):
        raise TypeError
    return found
