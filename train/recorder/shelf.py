"""Storage of takes: FLAC files in a folder a word, and a manifest."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import soundfile

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from train.recorder.checks import decibels
from train.recorder.finder import Audio
from train.words.folder import MANIFEST


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest."""

    path: str
    """Relative to the folder."""
    label: str
    speaker: str
    seconds: float
    level_dbfs: float
    """Peak."""
    device: str
    date: str
    text: str = ""
    """What was to be said, where the label does not tell."""


class Shelf:
    """A folder of own words, to be added to."""

    def __init__(self, folder: Path, speaker: str, device: str) -> None:
        self.folder, self.device = folder, device
        self.speaker = re.sub(r"[^\w-]+", "-", speaker.strip()).strip("-").lower() or "me"
        self._entries = list(read_manifest(folder / MANIFEST))

    def count(self, label: str) -> int:
        """Takes of a label that are there, whoever recorded them."""
        place = self.folder / label
        return sum(1 for _ in place.glob("*.flac")) if place.is_dir() else 0

    def takes(self, label: str) -> list[Path]:
        """This speaker's."""
        return sorted((self.folder / label).glob(f"{self.speaker}-*.flac"))

    def add(self, label: str, samples: Audio, date: str, text: str = "", name: str = "") -> Path:
        """Write a take; its path. `name` stands for the speaker in the file name.

        Raises UserError if it cannot be written.
        """
        name = re.sub(r"[^\w-]+", "-", name).strip("-") or self.speaker
        place = self.folder / label
        try:
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{name}-{self._free_number(place, name):02d}.flac"
            soundfile.write(path, samples, RATE, subtype="PCM_16")
        except (OSError, soundfile.SoundFileError) as error:
            raise UserError(f"{place} cannot be written to ({error}).", status=1) from error
        self._entries.append(
            Entry(
                path.relative_to(self.folder).as_posix(),
                label,
                self.speaker,
                round(len(samples) / RATE, 2),
                round(decibels(float(abs(samples).max(initial=0.0))), 1),
                self.device,
                date,
                text,
            )
        )
        self._write()
        return path

    def remove(self, path: Path) -> None:
        """Take back what `add` wrote."""
        path.unlink(missing_ok=True)
        relative = path.relative_to(self.folder).as_posix()
        self._entries = [entry for entry in self._entries if entry.path != relative]
        self._write()

    def _free_number(self, place: Path, name: str) -> int:
        number = 1
        while (place / f"{name}-{number:02d}.flac").exists():
            number += 1
        return number

    def _write(self) -> None:
        lines = [json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in self._entries]
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=self.folder, prefix=".takes-", delete=False
        ) as file:
            file.writelines(lines)
        os.replace(file.name, self.folder / MANIFEST)  # noqa: PTH105


def read_manifest(path: Path) -> Iterator[Entry]:
    """The lines of a manifest that can be read."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue
