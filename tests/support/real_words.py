"""Clear single words of real people, where the recordings are at hand."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.base.audio import RATE
from train.augment import word_bounds

Sound = NDArray[np.float32]

SHARED = Path(__file__).parents[3] / "shared" / "data"
WORDS = SHARED / "speech_commands" / "train.parquet"
CONTRAST_DB = 30.0
"""Least level of the word above the rest of its clip."""


def clear_words(count: int, labels: Sequence[str] = ()) -> list[Sound]:
    """`count` clips of `labels` (all when empty), each with one clear word.

    Chosen by what is in them and then by a hash of their bytes, so neither the order of the
    rows nor clips added elsewhere in the file decide which are taken first.
    """
    import pyarrow.parquet as pq
    from datasets import Features

    table = pq.read_table(WORDS, columns=["audio", "label"])
    names = Features.from_arrow_schema(table.schema)["label"].names
    wanted = {names.index(label) for label in labels}
    rows = (
        row["audio"]["bytes"] for row in table.to_pylist() if not wanted or row["label"] in wanted
    )
    found: list[Sound] = []
    for content in sorted(rows, key=lambda data: hashlib.sha1(data).digest()):
        sound = soundfile.read(io.BytesIO(content), dtype="float32")[0]
        if is_clear(sound):
            found.append(sound)
        if len(found) == count:
            break
    return found


def is_clear(sound: Sound) -> bool:
    """Whether a whole word lies in the clip, well above its surroundings."""
    first, last = word_bounds(sound)
    if not 0.3 < (last - first) / RATE < 0.55 or first == 0 or last == len(sound):
        return False
    around = np.concatenate([sound[:first], sound[last:]])
    level = np.sqrt(np.mean(sound[first:last] ** 2))
    return bool(level > 10 ** (CONTRAST_DB / 20) * (np.sqrt(np.mean(around**2)) + 1e-9))
