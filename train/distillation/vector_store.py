"""A teacher's vectors on disk, each computed once.

Keys are the sound, the place in it, and the teacher.

Two files that only grow. A vector is written before its key, so that whatever a kill leaves behind
is a whole number of both after cutting off the rest.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from daemon.model import cache
from train.distillation.word_embedding import WordEmbedding, windows_around

SAVE_SECONDS = 30.0
BATCH = 16
Pcm = NDArray[np.int16]
Key = bytes
"""SHA-1 of a recording's samples, then the sample that the window is centred on (int32)."""
KEY_BYTES = 24


def keys_of(samples: Pcm, centres: Sequence[int]) -> list[Key]:
    """The keys of windows of a recording."""
    sound = hashlib.sha1(np.ascontiguousarray(samples, "<i2").tobytes()).digest()
    return [sound + int(centre).to_bytes(4, "little", signed=True) for centre in centres]


class VectorStore:
    """Vectors of one teacher in a folder; only its holder may write.

    See `filled`.
    """

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._keys, self._vectors = folder / "keys", folder / "vectors"
        self.width = width
        self._row = 2 * width
        for file in (self._keys, self._vectors):
            file.touch()
        whole = min(
            self._keys.stat().st_size // KEY_BYTES, self._vectors.stat().st_size // self._row
        )
        os.truncate(self._keys, whole * KEY_BYTES)
        os.truncate(self._vectors, whole * self._row)
        content = self._keys.read_bytes()
        self._rows = {content[n * KEY_BYTES : (n + 1) * KEY_BYTES]: n for n in range(whole)}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def add(self, keys: Sequence[Key], vectors: NDArray[np.floating]) -> None:
        """Append vectors, shape (n, width); on disk when it returns."""
        for file, content in (
            (self._vectors, np.ascontiguousarray(vectors, "<f2").tobytes()),
            (self._keys, b"".join(keys)),
        ):
            with file.open("ab") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        for key in keys:
            self._rows[key] = len(self._rows)

    def rows(self, keys: Sequence[Key]) -> NDArray[np.int64]:
        """Rows of the vectors of `keys` in `vectors`."""
        return np.array([self._rows[key] for key in keys], np.int64)

    def vectors(self) -> NDArray[np.float16]:
        """All vectors, shape (n, width), read from disk as they are needed."""
        if not self._rows:
            return np.empty((0, self.width), np.float16)
        return np.memmap(self._vectors, "<f2", "r", shape=(len(self._rows), self.width))


def filled(
    recordings: Sequence[Pcm],
    centres: Sequence[Sequence[int]],
    teacher: WordEmbedding,
    folder: Path | None,
    console: Console,
) -> VectorStore:
    """The store of `teacher` under `folder`, filled with all windows.

    folder: None for the user's cache. The windows are those of `recordings` around `centres`; what
    it has already is not computed again.
    """
    base = folder or cache.directory("teacher")
    place = base / f"{teacher.digest[:16]}-{teacher.runtime}"
    place.mkdir(parents=True, exist_ok=True)
    # Of several processes that train together one computes, the others wait for it.
    with FileLock(place / "lock"):
        store = VectorStore(place, teacher.width)
        missing = list(_missing(recordings, centres, store))
        if missing:
            _compute(recordings, missing, teacher, store, console)
    return store


def _missing(
    recordings: Sequence[Pcm], centres: Sequence[Sequence[int]], store: VectorStore
) -> Iterator[tuple[int, list[int], list[Key]]]:
    """Recordings with windows that the store lacks, their centres and keys."""
    seen: set[Key] = set()
    for number, (samples, places) in enumerate(zip(recordings, centres, strict=True)):
        pairs = zip(places, keys_of(samples, places), strict=True)
        lacking = {key: place for place, key in pairs if key not in store and key not in seen}
        seen.update(lacking)
        if lacking:
            yield number, list(lacking.values()), list(lacking)


def _compute(
    recordings: Sequence[Pcm],
    missing: Sequence[tuple[int, list[int], list[Key]]],
    teacher: WordEmbedding,
    store: VectorStore,
    console: Console,
) -> None:
    keys: list[Key] = []
    vectors: list[NDArray[np.float32]] = []
    saved = time.monotonic()
    for number, places, wanted in track(missing, "teacher vectors", console=console):
        samples = recordings[number].astype(np.float32) / np.float32(32768)
        for first in range(0, len(places), BATCH):
            vectors.append(teacher.vectors(windows_around(samples, places[first : first + BATCH])))
        keys += wanted
        if time.monotonic() - saved > SAVE_SECONDS:
            store.add(keys, np.concatenate(vectors))
            keys, vectors, saved = [], [], time.monotonic()
    if keys:
        store.add(keys, np.concatenate(vectors))
