"""Folders as people have them: links, hidden ones, parts, odd names."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile
from support.train_helpers import RATE, word, write_words

from daemon.base.errors import UserError
from train.data.clips import Loaded, load_clips, write_problems, write_split
from train.recipe import Recipe


def recipe(root: Path, **rest: Any) -> Recipe:
    tree = {"name": "t", "root": str(root), "data": [{"path": "words"}]} | rest
    return Recipe.model_validate(tree)


def labels(loaded: Loaded) -> dict[str, int]:
    return dict(Counter(clip.label for clip in loaded.clips))


def reasons(loaded: Loaded) -> dict[str, str]:
    return {problem.path: problem.reason for problem in loaded.problems}


def test_a_linked_label_folder_is_read_and_loops_end(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 3)
    elsewhere = write_words(tmp_path / "elsewhere", ("flat",), 3)
    (words / "flat").symlink_to(elsewhere / "flat")
    (words / "rise" / "up").symlink_to(words)
    (words / "fall" / "more").symlink_to(words / "fall")
    (words / "gone").symlink_to(tmp_path / "nowhere")
    loaded = load_clips(recipe(tmp_path))
    assert labels(loaded) == {"rise": 3, "fall": 3, "flat": 3}
    assert reasons(loaded)["rise/up"] == "is a link to a folder that is read already"
    assert reasons(loaded)["fall/more"] == "is a link to a folder that is read already"


def test_hidden_and_system_folders_are_no_labels(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 3)
    hidden = (".ipynb_checkpoints", ".Trash-0/files", "__MACOSX/rise", "$RECYCLE.BIN", "lost+found")
    for name in hidden:
        shutil.copytree(words / "rise", words / name)
    (words / "rise" / ".DS_Store").write_bytes(b"Bud1")
    (words / "rise" / "._rise-0.wav").write_bytes(b"\0\5\x16\7")
    (words / "fall" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    loaded = load_clips(recipe(tmp_path, problems="fatal"))
    assert labels(loaded) == {"rise": 3, "fall": 3}
    assert reasons(loaded) == {
        ".ipynb_checkpoints": "is a hidden folder with 3 files",
        ".Trash-0": "is a hidden folder with 3 files",
        "__MACOSX": "is a folder of the system with 3 files",
        "$RECYCLE.BIN": "is a folder of the system with 3 files",
        "lost+found": "is a folder of the system with 3 files",
        "rise/.DS_Store": "is a hidden file",
        "rise/._rise-0.wav": "is a hidden file",
        "fall/Thumbs.db": "is a file of the system",
    }
    assert not loaded.faults


def test_folders_train_and_test_are_parts(tmp_path: Path) -> None:
    for part, first in (("Train", 0), ("test", 12), ("valid", 18)):
        for label in ("rise", "fall"):
            folder = tmp_path / "words" / part / label
            folder.mkdir(parents=True)
            for number in range(first, first + 12 if part == "Train" else first + 6):
                soundfile.write(folder / f"{number}.wav", word(label, number), RATE)
    loaded = load_clips(recipe(tmp_path))
    parts = {(clip.path.split("/")[0], clip.part) for clip in loaded.clips}
    assert parts == {("Train", "train"), ("test", "test"), ("valid", "validation")}
    assert labels(loaded) == {"rise": 24, "fall": 24}
    assert "Train, test, valid are taken as parts of the split" in loaded.notes[0]
    shutil.rmtree(tmp_path / "words" / "valid")
    loaded = load_clips(recipe(tmp_path, split={"buckets": 4}))
    assert {c.part for c in loaded.clips if c.path.startswith("test")} == {"test"}
    assert {c.part for c in loaded.clips if c.path.startswith("Train")} == {"train", "validation"}


def test_folders_train_and_test_beside_labels_are_named(tmp_path: Path) -> None:
    write_words(tmp_path / "words", ("rise", "fall"), 3)
    for label in ("train", "test"):
        shutil.copytree(tmp_path / "words" / "rise", tmp_path / "words" / label)
    loaded = load_clips(recipe(tmp_path))
    assert {"train", "test"} <= labels(loaded).keys()
    assert "the folders test and train are taken for labels" in loaded.notes[0]


def test_empty_label_folders_are_named(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 3)
    (words / "flat" / "anna").mkdir(parents=True)
    assert load_clips(recipe(tmp_path)).notes == ("words: no recording in the label folder flat",)


def test_names_that_are_no_utf8_are_used_and_written(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 3)
    (words / "rise" / "rise-0.wav").rename(words / "rise" / os.fsdecode(b"caf\xe9.wav"))
    (words / "fall").rename(words / os.fsdecode(b"gr\xfcn"))
    (words / "rise" / os.fsdecode(b"leer\xe9.wav")).touch()
    r = recipe(tmp_path)
    loaded = load_clips(r)
    assert labels(loaded) == {"rise": 3, r"gr\xfcn": 3}
    assert r"rise/caf\xe9.wav" in {clip.path for clip in loaded.clips}
    write_split(tmp_path / "split.jsonl", loaded, r)
    write_problems(tmp_path / "problems.jsonl", loaded.problems)
    lines = (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["path"] for line in lines] == [r"rise/leer\xe9.wav"]


def test_copies_are_never_in_two_parts(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 40)
    before = {clip.path: clip.part for clip in load_clips(recipe(tmp_path)).clips}
    for file in sorted((words / "rise").iterdir())[:20]:
        samples, rate = soundfile.read(file, dtype="int16")
        shutil.copy(file, file.with_name(f"{file.stem} (1).wav"))
        soundfile.write(file.with_name(f"{file.stem} copy.flac"), samples, rate)
    loaded = load_clips(recipe(tmp_path))
    parts: dict[bytes, set[str]] = {}
    for clip in loaded.clips:
        parts.setdefault(clip.samples.tobytes(), set()).add(clip.part)
    assert len(parts) == 80
    assert all(len(found) == 1 for found in parts.values())
    assert {c.path: c.part for c in loaded.clips if c.path in before} == before
    assert loaded.notes[0].startswith("40 recordings are copies of another by the samples; ")
    copies = [c for c in loaded.clips if c.path not in before]
    assert len(copies) + len(loaded.problems) == 40
    assert copies
    assert {c.key for c in copies} <= before.keys()
    assert not loaded.faults


def test_a_copy_in_the_train_folder_of_a_test_recording_is_not_trained_on(tmp_path: Path) -> None:
    words = tmp_path / "words"
    write_words(words / "train", ("rise", "fall"), 6)
    write_words(words / "test", ("fall",), 1)
    soundfile.write(words / "test" / "fall" / "a longer name.wav", word("rise", 2), RATE)
    loaded = load_clips(recipe(tmp_path))
    assert "test/fall/a longer name.wav" in {clip.path for clip in loaded.clips}
    assert "is a copy of test/fall/a longer name.wav" in reasons(loaded)["train/rise/rise-2.wav"]
    assert "1 copies have another label than the original" in loaded.notes


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("my/words", "does not exist"),
        ("my/words/left", "does not exist"),
        ("words.v2/left", "does not exist"),
        ("data/words.csv", "does not exist"),
        ("hub:words", "no data set of the hub"),
        ("nobody/words", "can't be reached"),
        ("hub:my/words", "can't be reached"),
    ],
)
def test_what_looks_local_is_never_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, sentence: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "my" / "word").mkdir(parents=True)
    with pytest.raises(UserError, match=sentence):
        load_clips(recipe(tmp_path, data=[{"path": path}]))
