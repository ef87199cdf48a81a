"""Calibration on training recordings, by models trained without them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console
from support.train_helpers import RATE, recipe_tree, run_of, tiny_base, write_words

from daemon.base.errors import UserError
from train import pipeline as steps
from train.calibration import cross_fit as crossfit
from train.data.clips import Clip, Loaded, load_clips
from train.recipe import Recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossfit")
    write_words(folder / "words", ("rise", "fall", "flat"), 16)
    # Other recordings: a copy of one would stay in the part of the first.
    write_words(folder / "always", ("flat",), 3, first=100)
    write_words(folder / "others", ("flat",), 6, first=200)
    tiny_base(folder / "base")
    return folder


def tree_of(place: Path, **calibrate: Any) -> dict[str, Any]:
    tree = recipe_tree(place / "words", place / "base", steps=6, eval_every=6)
    tree["data"].append({"path": str(place / "always"), "holdout": False})
    tree["calibrate"] |= {"per_label": 40, **calibrate}
    return tree


def named(clips: Sequence[Clip]) -> set[tuple[int, str]]:
    return {(clip.source, clip.path) for clip in clips}


def test_every_recording_is_scored_by_a_model_that_was_trained_without_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = run_of(tree_of(place, cross_fit=3), tmp_path).recipe
    loaded = load_clips(recipe)
    trained: list[tuple[int, set[tuple[int, str]]]] = []

    class Trainer:
        def save_model(self, folder: str) -> None:
            (Path(folder) / "model.safetensors").touch()

    def train_model(shorter: Recipe, rest: Loaded, *_: object) -> Trainer:
        trained.append((shorter.train.steps, named(rest.part("train"))))
        assert rest.part("validation") == loaded.part("validation")
        return Trainer()

    monkeypatch.setattr(crossfit, "train_model", train_model)
    console = Console(file=io.StringIO())
    arguments = (recipe, loaded, ("rise", "fall", "flat"), (), tmp_path, console)
    parts = list(crossfit.cross_fit(*arguments))
    always = {name for name in named(loaded.part("train")) if name[0] == 1}
    real = named(loaded.part("train")) - always
    heard = [named(part.clips) for part in parts]
    assert set.union(*heard) == real
    assert sum(map(len, heard)) == len(real)
    assert all(heard)
    for (count, mine), out in zip(trained, heard, strict=True):
        assert mine == (real - out) | always
        assert count == 4
    # What is there already is taken.
    assert list(crossfit.cross_fit(*arguments)) == parts
    assert len(trained) == 3


def test_a_model_of_other_parts_or_recordings_is_not_taken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been trained on what it is to hear."""
    trained: list[Path] = []

    class Trainer:
        def save_model(self, folder: str) -> None:
            (Path(folder) / "model.safetensors").touch()

    def train_model(*arguments: Any) -> Trainer:
        folder: Path = arguments[4]
        trained.append(folder)
        assert not (folder / "checkpoints").exists()  # nor are its checkpoints
        (folder / "checkpoints").mkdir()
        return Trainer()

    monkeypatch.setattr(crossfit, "train_model", train_model)

    def fit(loaded: Loaded, keep: bool = False, **changed: Any) -> int:
        recipe = run_of(tree_of(place, **{"cross_fit": 2, **changed}), tmp_path).recipe
        before = len(trained)
        labels = ("rise", "fall", "flat")
        quiet = Console(file=io.StringIO())
        list(crossfit.cross_fit(recipe, loaded, labels, (), tmp_path, quiet, keep))
        return len(trained) - before

    loaded = load_clips(run_of(tree_of(place), tmp_path).recipe)
    assert fit(loaded) == 2
    assert fit(loaded, false_alarms_per_hour=3.0) == 0  # how it is calibrated changes no training
    with pytest.raises(UserError, match="was trained by another recipe"):
        fit(loaded, True, cross_fit=3)
    assert fit(loaded, cross_fit=3) == 3
    assert fit(replace(loaded, clips=loaded.clips[1:]), cross_fit=3) == 3


def test_a_run_calibrates_on_all_it_was_not_tested_on(place: Path, tmp_path: Path) -> None:
    plain = steps.train(run_of(tree_of(place), tmp_path / "plain"))
    steps.train(run_of(tree_of(place, cross_fit=2, free=[str(place / "others")]), tmp_path / "m"))

    def measured(folder: str) -> dict[str, Any]:
        found = json.loads((tmp_path / folder / "calibration.json").read_text())
        measures: dict[str, Any] = found["intentd"]["measured"]
        return measures

    clips = plain["clips"]
    assert measured("plain")["words"] == sum(clips[w]["validation"] for w in ("rise", "fall"))
    for_all = sum(clips[w][part] for w in ("rise", "fall") for part in ("train", "validation"))
    assert measured("m")["words"] == for_all
    # Single other words are the only command-free audio there is, until there is other.
    assert measured("plain")["other_words"] == 0 < measured("plain")["command_free_hours"]
    free = sum(soundfile.info(f).duration + 0.6 for f in (place / "others").rglob("*.wav"))
    # Thousandths of hours.
    assert measured("m")["command_free_hours"] * 3600 == pytest.approx(free, abs=2.0)
    held = sum(clips["flat"][part] for part in ("train", "validation")) - 3  # `always` counts not
    assert measured("m")["other_words"] == held
    weights = [
        (tmp_path / "m" / name / "model.safetensors").read_bytes()
        for name in (".", "cross-fit/0", "cross-fit/1")
    ]
    assert len(set(weights)) == 3
    text = (tmp_path / "m" / "README.md").read_text()
    assert "trained without" in text


def test_one_part_is_a_sentence(place: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        Recipe.model_validate(tree_of(place, cross_fit=1))


def test_extra_recordings_that_are_missing_are_a_sentence(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        steps.train(run_of(tree_of(place, free=["nowhere/at/all"]), tmp_path / "m"))


def test_a_source_that_is_optional_may_be_missing(place: Path) -> None:
    tree = tree_of(place)
    before = len(load_clips(Recipe.model_validate(tree)).clips)
    tree["data"].append({"path": "nowhere", "label": "flat", "optional": True})
    assert len(load_clips(Recipe.model_validate(tree)).clips) == before
    (there := place / "there").mkdir()
    soundfile.write(there / "one.wav", 0.1 * np.ones(RATE), RATE)
    tree["data"][-1]["path"] = str(there)
    assert len(load_clips(Recipe.model_validate(tree)).clips) == before + 1
