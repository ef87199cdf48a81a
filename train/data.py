"""Recordings for training, from wherever they lie, as clips in memory.

Sources: a parquet file (columns audio {bytes, path}, label, speaker), a data set on the hub of the
same shape, a folder with a subfolder a label, a folder of plain recordings, a CSV or JSONL manifest
(path, label, and if known speaker, start, end). Audio is decoded with soundfile and resampled to
16 kHz; rows that cannot be used are listed with the reason, never dropped silently.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from daemon.errors import UserError
from train.recipe import DataSection, Recipe
from train.split import Part, part_of

RATE = 16_000
SHORTEST = 0.1
SILENCE = 1e-4
"""Peak below which a clip counts as silent (−80 dBFS)."""

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: 16-bit mono samples at 16 kHz, and what is known of it."""

    samples: Pcm
    label: str
    key: str
    """Speaker, or path where the speaker is unknown: what the split is drawn from."""
    path: str
    source: int
    """Index of the recipe's data section."""
    part: Part
    placing: str

    @property
    def audio(self) -> NDArray[np.float32]:
        """Samples as float32 in [-1, 1)."""
        return self.samples.astype(np.float32) / 32768


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    audio: bytes | str
    path: str
    label: str | None
    speaker: str
    start: float | None = None
    end: float | None = None


def load_clips(recipe: Recipe) -> tuple[list[Clip], list[Problem]]:
    """All clips of the recipe's sources, and the rows that were left out with the reasons.

    Raises UserError if a source is missing, or if nothing usable is found.
    """
    clips: list[Clip] = []
    problems: list[Problem] = []
    for number, section in enumerate(recipe.data):
        before = len(clips)
        for row in _rows(recipe, section):
            try:
                clips.append(_clip(row, section, number, recipe))
            except ValueError as error:
                problems.append(Problem(row.path, str(error)))
        if len(clips) == before:
            raise UserError(f"data source {section.path!r} holds no usable recording.")
    known = set(recipe.model.labels)
    if known:
        strange = sorted({clip.label for clip in clips} - known)
        if strange:
            raise UserError(
                f"the data has labels {', '.join(strange)} that model.labels does not name; "
                "add them there or rename them in the data section."
            )
    return clips, problems


def labels_of(recipe: Recipe, clips: list[Clip]) -> tuple[str, ...]:
    """The model's labels in order."""
    if recipe.model.labels:
        return recipe.model.labels
    return tuple(sorted({clip.label for clip in clips}))


def load_noises(folder: Path, exclude: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Noise recordings of a folder as mono 16 kHz float32, by file name order."""
    if not folder.is_dir():
        raise UserError(f"The noise folder {folder} does not exist.")
    noises = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.name not in exclude:
            noises.append(decode(str(path)))
    if not noises:
        raise UserError(f"The noise folder {folder} holds no recordings.")
    return noises


SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au"}


def decode(audio: bytes | str) -> NDArray[np.float32]:
    """Mono float32 at 16 kHz from a path or the bytes of a file. Raises ValueError if damaged."""
    try:
        samples, rate = soundfile.read(
            io.BytesIO(audio) if isinstance(audio, bytes) else audio, dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    mono = samples.mean(axis=1, dtype=np.float32)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE).astype(np.float32)


def _clip(row: Row, section: DataSection, number: int, recipe: Recipe) -> Clip:
    label = section.label or row.label
    if label is None or label == "":
        raise ValueError("has no label")
    label = section.rename.get(label, section.rename.get("*", label))
    samples = decode(row.audio)
    if row.start is not None or row.end is not None:
        first = round((row.start or 0.0) * RATE)
        last = len(samples) if row.end is None else round(row.end * RATE)
        samples = samples[first:last]
    if len(samples) < SHORTEST * RATE:
        raise ValueError(f"is too short ({len(samples) / RATE:.2f} s)")
    if not np.isfinite(samples).all():
        raise ValueError("holds samples that are not finite")
    if np.abs(samples).max() < SILENCE:
        raise ValueError("is silent")
    key = row.speaker or row.path
    part = part_of(key, recipe.split) if section.holdout else "train"
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    placing = section.placing
    if placing == "auto":
        placing = "crop" if label in recipe.model.non_intents else "word"
    return Clip(pcm, label, key, row.path, number, part, placing)


def _rows(recipe: Recipe, section: DataSection) -> Iterator[Row]:
    path = recipe.path(section.path)
    if path.is_file() and path.suffix == ".parquet":
        yield from _table_rows(section, str(path))
    elif path.is_file() and path.suffix in {".csv", ".jsonl"}:
        yield from _manifest_rows(path)
    elif path.is_dir() and any(path.glob("*.parquet")):
        yield from _table_rows(section, str(path / "*.parquet"))
    elif path.is_dir():
        yield from _folder_rows(path, section)
    elif section.path.count("/") == 1 and not section.path.startswith((".", "/", "~")):
        yield from _table_rows(section, None)
    else:
        raise UserError(f"data source {path} does not exist; set its path or --set root=FOLDER.")


def _table_rows(section: DataSection, data_files: str | None) -> Iterator[Row]:
    from datasets import Audio, ClassLabel, load_dataset
    from datasets.utils import disable_progress_bars

    disable_progress_bars()
    try:
        if data_files is not None:
            table = load_dataset("parquet", data_files=data_files, split="train")
        else:
            table = load_dataset(section.path, name=section.config, split=section.split)
    except (OSError, ValueError, ConnectionError) as error:
        raise UserError(
            f"The data set {section.path!r} could not be loaded ({str(error).splitlines()[0]}); "
            "check its name and the network, or give a local copy."
        ) from error
    table = table.cast_column("audio", Audio(decode=False))
    column = table.features.get(section.label_column)
    if column is None and section.label is None:
        raise UserError(
            f"{section.path} has no column {section.label_column!r}; it has "
            f"{', '.join(table.features)}. Set label_column, or label for one label for all."
        )
    for row in table:
        value = row.get(section.label_column)
        if isinstance(column, ClassLabel) and value is not None:
            value = column.int2str(value) if value >= 0 else None
        audio = row["audio"]
        path = audio["path"] or ""
        speaker = row.get(section.speaker_column) if section.speaker_column else None
        yield Row(
            audio["bytes"] if audio["bytes"] is not None else path,
            path,
            None if value is None else str(value),
            str(speaker or ""),
        )


def _folder_rows(path: Path, section: DataSection) -> Iterator[Row]:
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.name not in section.exclude:
            relative = file.relative_to(path)
            label = relative.parts[0] if len(relative.parts) > 1 else None
            yield Row(str(file), str(relative), label, "")


def _manifest_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        entries: Iterator[dict[str, Any]] = (
            csv.DictReader(lines)
            if path.suffix == ".csv"
            else (json.loads(line) for line in lines if line.strip())
        )
        for entry in entries:
            if not entry.get("path"):
                raise UserError(f"{path}: every row needs a path.")
            yield Row(
                str(path.parent / entry["path"]),
                entry["path"],
                entry.get("label") or None,
                entry.get("speaker") or "",
                _seconds(entry.get("start")),
                _seconds(entry.get("end")),
            )


def _seconds(value: Any) -> float | None:
    return None if value in (None, "") else float(value)
