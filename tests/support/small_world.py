"""A small pack in place of train/world, so that tests take less time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from support.train_helpers import RATE, word
from support.word_teacher import small_word_teacher
from train import world
from train.data.phonemes import spoken
from train.words.background import held_out_noise, surroundings


def speech_like(seed: int, seconds: float = 4.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Buzzes that do not glide, one after the other."""
    rng = np.random.default_rng(seed)
    pieces: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    while sum(map(len, pieces)) < seconds * RATE:
        pieces.append(word("flat", int(rng.integers(1 << 30)), float(rng.uniform(0.2, 0.7))))
    return np.concatenate(pieces)


def row(
    samples: np.ndarray[tuple[int], np.dtype[np.float32]], kind: str, part: str, number: int,
    text: str = "",
) -> dict[str, object]:  # fmt: skip
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="OGG", subtype="OPUS")
    return {
        "audio": {"bytes": file.getvalue(), "path": f"{kind}-{number}.opus"},
        "text": text,
        "phonemes": spoken(text).phonemes,
        "language": "en",
        "source": "buzzes",
        "speaker": f"{part}-{number}",
        "kind": kind,
        "part": part,
    }


def write_world(path: Path, sentences: int = 10) -> Path:
    """A pack of buzzes that say nothing, one of which is said to be "rise up"."""
    rng = np.random.default_rng(0)
    rows = []
    for part in (world.TRAIN, world.HELD_OUT):
        for number in range(sentences):
            text = "they rise up" if number == 0 else f"nothing number {number}"
            seed = number + 100 * (part == world.TRAIN)
            rows.append(row(speech_like(seed), world.TALK, part, number, text))
        noise = (0.05 * rng.standard_normal(3 * RATE)).astype(np.float32)
        rows.append(row(noise, world.NOISE, part, 0))
    pq.write_table(pa.Table.from_pylist(rows, world.SCHEMA), path)
    return path


@contextmanager
def small_world(folder: Path) -> Iterator[Path]:
    """Within it, the pack and the verifier's network are small.

    What is computed of the pack is kept in `folder`.
    """
    path = write_world(folder / "world.parquet")
    network = small_word_teacher(folder / "verifier.onnx")
    _forget()
    with (
        mock.patch.object(world, "world_file", lambda: path),
        mock.patch("train.words.background.world_file", lambda: path),
        mock.patch("train.words.verifying.bundled_network", lambda: network),
        mock.patch("daemon.model.cache.directory", lambda kind: folder / "cache" / kind),
    ):
        yield path
    _forget()


def _forget() -> None:
    world.recordings.cache_clear()
    held_out_noise.cache_clear()
    surroundings.cache_clear()
    world.forget_audio()
