"""A folder of own words: a subfolder a word, and other sound beside it.

    words/three/anna-01.flac …     takes of a word
    words/_near/free-01.flac …     words that sound alike
    words/_talk/anna-01.flac …     ordinary talk without the words
    words/_room/anna-01.flac …     the room, while nobody speaks

A name that begins with an underscore or a dot is no word. `takes.jsonl`, which `intentd-train
record` writes, tells who spoke.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from train.data.clips import Problem
from train.data.decoding import decode
from train.data.sources import rows_of
from train.recipe import DataSection

NEAR, TALK, ROOM = "_near", "_talk", "_room"
MANIFEST = "takes.jsonl"
RESERVED = ("unknown", "background")
SHORTEST, SILENCE = 0.1, 1e-4
"""Seconds; peak."""

Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of a word, 16 kHz mono."""

    word: str
    path: str
    """Relative to the folder."""
    speaker: str
    """"" if not known."""
    audio: Audio


@dataclass(frozen=True, slots=True)
class OwnRecordings:
    """The contents of a folder of own words."""

    folder: Path
    takes: tuple[Take, ...]
    near: tuple[Take, ...]
    talk: tuple[Take, ...]
    room: tuple[Take, ...]
    problems: tuple[Problem, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted({take.word for take in self.takes}))

    def of(self, word: str) -> list[Take]:
        return [take for take in self.takes if take.word == word]


def is_word_folder(path: Path) -> bool:
    """Whether `path` is a folder with a subfolder that is a word's."""
    return path.is_dir() and bool(word_names(path))


def word_names(folder: Path) -> list[str]:
    """Subfolders that are words' and hold a file, sorted."""
    return sorted(
        each.name
        for each in folder.iterdir()
        if each.is_dir()
        and not each.name.startswith(("_", "."))
        and any(not file.is_dir() for file in each.rglob("*"))
    )


def read_folder(folder: Path, fewest: int = 2) -> OwnRecordings:
    """All recordings of a folder; unusable ones are listed in `problems`.

    Raises UserError if it is no such folder, a word has fewer than `fewest` usable takes, or is
    called like a label that every model has.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; `intentd-train record WORD...` makes one.")
    words = word_names(folder)
    if not words:
        raise UserError(
            f"{folder} has no subfolder with recordings; give each word one, or record some with "
            "`intentd-train record WORD...`."
        )
    if reserved := [word for word in words if word in RESERVED]:
        raise UserError(
            f"{folder / reserved[0]}: {reserved[0]!r} is a label of its own; rename it."
        )
    speakers = speakers_of(folder)
    problems: list[Problem] = []
    takes = [take for word in words for take in _read(folder, word, speakers, problems)]
    for word in words:
        count = sum(take.word == word for take in takes)
        if count < fewest:
            first = next((p for p in problems if p.path.startswith(f"{word}/")), None)
            why = f" ({first.path} {first.reason})" if first else ""
            raise UserError(
                f"The word {word!r} has {count} usable recordings and needs {fewest} at least, "
                f"better ten{why}; record more with `intentd-train record {word}`."
            )
    others = [_read(folder, name, speakers, problems) for name in (NEAR, TALK, ROOM)]
    near, talk, room = map(tuple, others)
    return OwnRecordings(folder, tuple(takes), near, talk, room, tuple(problems))


def speakers_of(folder: Path) -> dict[str, str]:
    """Speaker by path, from the manifest; malformed lines are skipped."""
    found: dict[str, str] = {}
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
            found[str(entry["path"])] = str(entry.get("speaker") or "")
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def _read(
    folder: Path, name: str, speakers: dict[str, str], problems: list[Problem]
) -> Sequence[Take]:
    place = folder / name
    if not place.is_dir():
        return []
    takes = []
    for row in rows_of(DataSection(path=str(place), label=name), place, lambda note: None):
        if not row.recording:
            continue
        path = f"{name}/{row.path}"
        try:
            takes.append(Take(name, path, speakers.get(path, ""), _usable(decode(row.audio))))
        except ValueError as error:
            problems.append(Problem(str(folder), path, str(error)))
    return takes


def _usable(samples: Audio) -> Audio:
    """Check that something can be learned from `samples`.

    Raises: ValueError with the reason if not.
    """
    if len(samples) < SHORTEST * RATE:
        raise ValueError(f"is too short ({len(samples) / RATE:.2f} s)")
    if not np.isfinite(samples).all():
        raise ValueError("holds samples that are not finite")
    if np.abs(samples).max() < SILENCE:
        raise ValueError("is silent")
    return samples
