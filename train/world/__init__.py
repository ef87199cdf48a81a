"""Real speech and noise that ship with intentd-train.

What the world sounds like without a user's words. README.md beside this file says whose recordings
they are; tools/build_world.py makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from train.data.decoding import decode
from train.data.phonemes import Spoken, holds

TRAIN, HELD_OUT = "train", "held-out"
"""Parts. Nothing is trained on the second; its speakers are in no other part."""
TALK, SINGLE, NOISE = "talk", "words", "noise"
"""Kinds: sentences, single words and phrases, noise without speech."""
SCHEMA = pa.schema(
    {
        "audio": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "text": pa.string(),
        "phonemes": pa.string(),
        "language": pa.string(),
        "source": pa.string(),
        "speaker": pa.string(),
        "kind": pa.string(),
        "part": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of the pack."""

    data: bytes
    """Ogg Opus."""
    path: str
    spoken: Spoken
    language: str
    source: str
    speaker: str
    kind: str
    part: str

    @property
    def key(self) -> str:
        """Speaker, or path where the speaker is not known."""
        return self.speaker or self.path

    @property
    def audio(self) -> NDArray[np.float32]:
        """16 kHz mono, in [-1, 1].

        Read-only, since it is kept until `forget_audio`.
        """
        return _decoded(self.data)


@functools.cache
def _decoded(data: bytes) -> NDArray[np.float32]:
    # Decoding all takes a quarter of a minute, and training asks for it several times.
    samples = np.clip(decode(data), -1, 1)
    samples.setflags(write=False)
    return samples


def forget_audio() -> None:
    """Release the decoded recordings, which take up to 400 MB."""
    _decoded.cache_clear()


def world_file() -> Path:
    """The pack. Raises UserError where it was left out of the installation."""
    path = Path(str(files("train") / "world" / "world.parquet"))
    if not path.is_file():
        raise UserError(
            "this installation comes without the recordings in train/world; install intentd anew"
        )
    return path


@functools.lru_cache(maxsize=1)
def recordings() -> tuple[Recording, ...]:
    """All of the pack, undecoded, in its order."""
    return tuple(
        Recording(
            row["audio"]["bytes"],
            row["audio"]["path"],
            Spoken(row["text"], row["phonemes"]),
            row["language"],
            row["source"],
            row["speaker"],
            row["kind"],
            row["part"],
        )
        for row in pq.read_table(world_file()).to_pylist()
    )


def without(words: Collection[Spoken]) -> list[int]:
    """Numbers of the recordings without any of `words`, by sound too."""
    return [
        number
        for number, each in enumerate(recordings())
        if not any(holds(each.spoken, word) for word in words)
    ]


__all__ = [
    "HELD_OUT",
    "NOISE",
    "RATE",
    "SCHEMA",
    "SINGLE",
    "TALK",
    "TRAIN",
    "Recording",
    "forget_audio",
    "recordings",
    "without",
    "world_file",
]
