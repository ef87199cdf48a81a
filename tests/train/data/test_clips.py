"""Sources of every kind, and every kind of row that cannot be used."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, ClassLabel, Features, Value
from support.train_helpers import RATE, word, write_words

from daemon.base.errors import UserError
from train.data.clips import check_parts, labels_of, load_clips, write_split
from train.data.noises import load_noises
from train.recipe import Recipe
from train.recipe_files import load_recipe


def recipe(root: Path, *data: dict[str, Any], **rest: Any) -> Recipe:
    return Recipe.model_validate({"name": "t", "root": str(root), "data": list(data), **rest})


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def write_parquet(path: Path, rows: list[dict[str, Any]], names: list[str]) -> None:
    features = Features(
        {"audio": Audio(), "label": ClassLabel(names=names), "speaker": Value("string")}
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), path)


def test_a_folder_of_words(tmp_path: Path) -> None:
    write_words(tmp_path / "words", ("rise", "fall"), 6)
    loaded = load_clips(recipe(tmp_path, {"path": "words", "rename": {"fall": "drop"}}))
    assert labels_of(recipe(tmp_path, {"path": "words"}), loaded.clips) == ("drop", "rise")
    assert len(loaded.clips) == 12
    assert loaded.unknown_groups == {"words": 12}
    np.testing.assert_allclose(
        next(c for c in loaded.clips if c.path == "rise/rise-3.wav").audio,
        word("rise", 3),
        atol=2e-4,
    )


def test_parquet_files_named_train_and_test_are_parts(tmp_path: Path) -> None:
    """As data sets of the hub lie in their folder."""
    folder = tmp_path / "some [set]" / "data"
    folder.mkdir(parents=True)
    for name, numbers in (
        ("train-00000-of-00001", range(24)),
        ("test-00000-of-00001", range(30, 38)),
    ):
        rows = [
            {"audio": {"bytes": wav(word(label, n)), "path": f"{name}-{label}-{n}.wav"}}
            | {"label": at, "speaker": f"{name}-{n}"}
            for at, label in enumerate(("rise", "fall"))
            for n in numbers
        ]
        write_parquet(folder / f"{name}.parquet", rows, ["rise", "fall"])
    found = load_clips(recipe(tmp_path, {"path": "some [set]", "speaker_column": "speaker"}))
    assert len(found.clips) == 64
    parts = {(clip.path.split("-")[0], clip.part) for clip in found.clips}
    assert parts == {("train", "train"), ("train", "validation"), ("test", "test")}
    assert found.notes[0] == "some [set]: its files are taken as parts of the split, test, train"


def test_recordings_with_uneven_channels_are_counted(tmp_path: Path) -> None:
    words = write_words(tmp_path / "words", ("rise", "fall"), 6)
    for number in (2, 4):
        file = words / "rise" / f"rise-{number}.wav"
        samples, rate = soundfile.read(file, dtype="float32")
        soundfile.write(file, np.stack([samples, 0 * samples], axis=1), rate)
    notes = load_clips(recipe(tmp_path, {"path": "words"})).notes
    assert len(notes) == 1
    assert notes[0].startswith("words: 2 recordings have a channel that is silent or much louder")
    assert notes[0].endswith("the first: rise/rise-2.wav")


def test_rows_that_cannot_be_used_are_listed_with_the_reason(tmp_path: Path) -> None:
    good = word("rise", 0)
    bad = good.copy()
    bad[100] = np.nan
    rows = [
        ("fine.wav", wav(good), 0),
        ("fine2.wav", wav(word("fall", 1)), 1),
        ("noise.txt", b"this is no audio", 0),
        ("empty.wav", wav(np.zeros(0, np.float32)), 0),
        ("short.wav", wav(good[:800]), 0),
        ("silent.wav", wav(np.zeros(RATE, np.float32)), 0),
        ("nan.wav", wav(bad), 0),
        ("unlabelled.wav", wav(good), -1),
    ]
    write_parquet(
        tmp_path / "d.parquet",
        [{"audio": {"bytes": b, "path": p}, "label": n, "speaker": "s"} for p, b, n in rows],
        ["rise", "fall"],
    )
    loaded = load_clips(recipe(tmp_path, {"path": "d.parquet"}))
    assert [clip.path for clip in loaded.clips] == ["fine.wav", "fine2.wav"]
    reasons = {problem.path: problem.reason for problem in loaded.problems}
    assert "not a recording that can be read" in reasons["noise.txt"]
    assert "too short" in reasons["short.wav"]
    assert "holds no sound" in reasons["empty.wav"]
    assert "silent" in reasons["silent.wav"]
    assert "not finite" in reasons["nan.wav"]
    assert "no label" in reasons["unlabelled.wav"]
    assert loaded.unknown_groups == {}


def test_manifests_cut_parts_and_know_speakers(tmp_path: Path) -> None:
    long = np.concatenate([word("rise", 0), word("fall", 0)])
    soundfile.write(tmp_path / "long.wav", long, 8000)
    lines = [
        {"path": "long.wav", "label": "rise", "speaker": "ann", "start": 0, "end": 2.0},
        {"path": "long.wav", "label": "fall", "speaker": "ann", "start": 2.0},
        {"path": "long.wav", "label": "fall", "start": "soon"},
        {"path": "gone.wav", "label": "fall"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    loaded = load_clips(recipe(tmp_path, {"path": "m.jsonl"}))
    assert [clip.label for clip in loaded.clips] == ["rise", "fall"]
    assert {clip.key for clip in loaded.clips} == {"ann"}
    assert len({clip.part for clip in loaded.clips}) == 1
    assert len(loaded.clips[0].samples) == pytest.approx(2 * RATE, abs=4)
    assert len(loaded.problems) == 2
    soundfile.write(tmp_path / "other.wav", word("fall", 3), 8000)
    csv = "path,label,speaker\nlong.wav,rise,\nother.wav,fall,bob\n"
    (tmp_path / "m.csv").write_text(csv)
    again = load_clips(recipe(tmp_path, {"path": "m.csv"}))
    assert [clip.key for clip in again.clips] == ["long.wav", "bob"]


def test_the_split_is_written_beside_the_model(tmp_path: Path) -> None:
    write_words(tmp_path / "words", ("rise", "fall"), 4)
    r = recipe(tmp_path, {"path": "words"})
    write_split(tmp_path / "split.jsonl", load_clips(r), r)
    lines = [json.loads(line) for line in (tmp_path / "split.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert lines[0]["group"] is None
    assert {line["part"] for line in lines} <= {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("data", "model", "sentence"),
    [
        ({"path": "nowhere"}, {}, "does not exist"),
        ({"path": "empty"}, {}, "no usable recording"),
        ({"path": "words"}, {"labels": ["rise"]}, "model.labels does not name"),
        ({"path": "words", "label": "all"}, {}, "single label"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, data: dict[str, Any], model: dict[str, Any], sentence: str
) -> None:
    write_words(tmp_path / "words", ("rise", "fall"), 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=sentence):
        load_clips(recipe(tmp_path, data, model=model))


def test_a_label_without_a_recording_to_train_on_is_refused(tmp_path: Path) -> None:
    write_words(tmp_path / "words", ("rise", "fall"), 12)
    r = recipe(tmp_path, {"path": "words"}, model={"labels": ["rise", "fall", "flat"]})
    with pytest.raises(UserError, match="'flat' has no recording to train on"):
        check_parts(r, load_clips(r).clips)


def test_fewer_clips_to_train_on_leave_the_other_parts_alone(tmp_path: Path) -> None:
    write_words(tmp_path / "words", ("rise", "fall", "flat"), 30)
    whole = load_clips(recipe(tmp_path, {"path": "words"}))
    some = {}
    for count in (3, 8):
        source = {"path": "words", "per_label": count, "only": ["rise", "fall"]}
        loaded = load_clips(recipe(tmp_path, source))
        assert {clip.label for clip in loaded.clips} == {"rise", "fall"}
        for label in ("rise", "fall"):
            mine = [c.path for c in loaded.part("train") if c.label == label]
            assert len(mine) == count
            some[label, count] = set(mine)
        for part in ("validation", "test"):
            assert {c.path for c in loaded.part(part)} == {
                c.path for c in whole.part(part) if c.label != "flat"
            }
    assert all(some[label, 3] < some[label, 8] for label in ("rise", "fall"))


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("train.step=5", "--set train.step is no key of a recipe; did you mean steps?"),
        ("data.0.pth=x", "--set data.0.pth is no key of a recipe; did you mean path?"),
        ("train.steps=abc", '--set train.steps is "abc"; it should be a valid integer.'),
        ("teach.weight=2", "--set teach.weight is 2; it should be less than or equal to 1."),
        ("teach=3", "--set teach is 3; it should be a table."),
        ("gate.kind=bla", "--set gate.kind is \"bla\"; it should be 'silero', 'energy' or 'off'."),
        ("teach={weight=2}", "teach.weight is 2; it should be less than or equal to 1."),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence_that_names_its_source(
    assignment: str, sentence: str
) -> None:
    with pytest.raises(UserError) as refused:
        load_recipe("commands", [assignment])
    assert str(refused.value).endswith(sentence)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder and no recipe"):
        load_recipe(str(tmp_path))


def test_every_file_of_a_folder_is_used_or_listed(tmp_path: Path) -> None:
    """Content decides, not the suffix; others are named, pipes not waited for."""
    root = tmp_path / "words"
    write_words(root, ("rise", "fall"), 1)
    kinds = {
        "a.caf": ("CAF", "PCM_16"),
        "b.W64": ("W64", "PCM_16"),
        "c.oga": ("OGG", "VORBIS"),
        "d.aifc": ("AIFF", "PCM_16"),
        "e.SND": ("AU", "PCM_16"),
        "f": ("WAV", "PCM_16"),
        "g.mp3": ("WAV", "PCM_16"),
        "ü\N{COMBINING DIAERESIS}.dat": ("FLAC", "PCM_16"),
    }
    for number, (name, (kind, subtype)) in enumerate(kinds.items(), 2):
        file = io.BytesIO()
        soundfile.write(file, word("rise", number), RATE, format=kind, subtype=subtype)
        (root / "rise" / name).write_bytes(file.getvalue())
    (root / "lost").mkdir()
    (root / "lost" / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(400))
    (root / "lost" / "notes.txt").write_text("spoken in the kitchen")
    (root / "lost" / "folder.wav").mkdir()
    (root / "lost" / "empty.wav").write_bytes(b"")
    (root / "lost" / "gone.wav").symlink_to("nowhere")
    (root / "lost" / "device.wav").symlink_to("/dev/zero")
    os.mkfifo(root / "lost" / "pipe.wav")
    loaded = load_clips(recipe(tmp_path, {"path": "words"}))
    used = {clip.path for clip in loaded.clips}
    assert used == {f"rise/{name}" for name in kinds} | {"rise/rise-0.wav", "fall/fall-0.wav"}
    lost = ("phone.m4a", "notes.txt", "empty.wav", "gone.wav", "device.wav", "pipe.wav")
    assert {problem.path for problem in loaded.problems} == {f"lost/{name}" for name in lost}
    assert loaded.lost_labels == {"lost": len(lost)}


def test_noises_are_recognised_by_content_too(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    soundfile.write(tmp_path / "a.caf", noise, RATE, format="CAF")
    soundfile.write(tmp_path / "b", noise, RATE, format="OGG", subtype="OPUS")
    (tmp_path / "README.md").write_text("Recorded in the kitchen.")
    (tmp_path / "old.wav").mkdir()
    assert [len(noise) for noise in load_noises(tmp_path, ())] == [2 * RATE, 2 * RATE]
    (tmp_path / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(400))
    with pytest.raises(UserError, match=r"phone\.m4a is MPEG-4 .* convert it to FLAC"):
        load_noises(tmp_path, ())
    assert len(load_noises(tmp_path, ("phone.m4a",))) == 2
