"""The teacher's vectors on disk: computed once, whole after a kill."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.train_helpers import word

from train.distillation import vector_store as vs
from train.distillation.word_embedding import WordEmbedding, open_teacher, windows_around

CONSOLE = Console(file=io.StringIO())


class Counting(WordEmbedding):
    """The teacher, and how many windows it was asked for."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, 1)
        self.count = 0

    def vectors(self, windows: np.ndarray) -> np.ndarray:
        self.count += len(windows)
        return super().vectors(windows)


def sounds(count: int) -> list[np.ndarray]:
    return [np.rint(word("rise", n) * 32767).astype(np.int16) for n in range(count)]


def test_what_is_there_is_not_computed_again(word_teacher: Path, tmp_path: Path) -> None:
    teacher = Counting(word_teacher)
    some = sounds(3)
    vs.filled(some, [[8_000, 9_000]] * 3, teacher, tmp_path, CONSOLE)
    assert teacher.count == 6
    vs.filled(some, [[8_000, 9_000]] * 3, teacher, tmp_path, CONSOLE)
    assert teacher.count == 6
    # Another recording, one more window of an old one, and an old one twice.
    more = [*sounds(4), some[0]]
    places = [[8_000, 9_000, 100], [9_000], [8_000], [8_000], [8_000]]
    store = vs.filled(more, places, teacher, tmp_path, CONSOLE)
    assert teacher.count == 8 == len(store)
    for samples, centres in zip(more, places, strict=True):
        rows = store.rows(vs.keys_of(samples, centres))
        expected = teacher.vectors(
            windows_around(samples.astype(np.float32) / np.float32(32768), centres)
        )
        np.testing.assert_allclose(store.vectors()[rows], expected, atol=1e-3)


@pytest.mark.parametrize("lost", [("keys", 5), ("keys", 24), ("vectors", 1), ("vectors", 200)])
def test_a_kill_while_writing_costs_what_was_not_whole(
    word_teacher: Path, tmp_path: Path, lost: tuple[str, int]
) -> None:
    teacher = Counting(word_teacher)
    some = sounds(6)
    whole = vs.filled(some, [[8_000]] * 6, teacher, tmp_path, CONSOLE)
    expected = np.array(whole.vectors())[whole.rows([vs.keys_of(s, [8_000])[0] for s in some])]
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    name, missing = lost
    os.truncate(folder / name, (folder / name).stat().st_size - missing)
    teacher.count = 0
    again = vs.filled(some, [[8_000]] * 6, teacher, tmp_path, CONSOLE)
    assert 1 <= teacher.count < 6
    rows = again.rows([vs.keys_of(s, [8_000])[0] for s in some])
    np.testing.assert_allclose(again.vectors()[rows], expected, atol=1e-3)


def test_teachers_do_not_share_a_store(word_teacher: Path, tmp_path: Path) -> None:
    from support.word_teacher import small_word_teacher

    other = small_word_teacher(tmp_path / "other.onnx", seed=1)
    for file in (word_teacher, other):
        store = vs.filled(sounds(1), [[8_000]], open_teacher(str(file), 1), tmp_path, CONSOLE)
        assert len(store) == 1
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 2


def test_vectors_are_saved_while_the_teacher_is_at_work(
    word_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vs, "SAVE_SECONDS", 0.0)

    class Stops(Counting):
        def vectors(self, windows: np.ndarray) -> np.ndarray:
            if self.count >= 3:
                raise KeyboardInterrupt
            return super().vectors(windows)

    teacher = Stops(word_teacher)
    with pytest.raises(KeyboardInterrupt):
        vs.filled(sounds(5), [[8_000]] * 5, teacher, tmp_path, CONSOLE)
    rest = Counting(word_teacher)
    assert len(vs.filled(sounds(5), [[8_000]] * 5, rest, tmp_path, CONSOLE)) == 5
    assert rest.count == 2
