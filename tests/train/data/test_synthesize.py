"""Words and sentences in synthetic voices, by the synthesisers themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.speech_packages import missing_synthesisers
from support.taught import Command

from train.data.clips import load_clips
from train.recipe import Recipe

pytestmark = pytest.mark.skipif(
    bool(missing_synthesisers()), reason=f"needs {' and '.join(missing_synthesisers())}"
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*.flac"))}


def recipe_of(folder: Path) -> Recipe:
    tree: dict[str, Any] = {"name": "t", "root": str(folder.parent)}
    tree["data"] = [{"path": folder.name, "rename": {"_sentences": "unknown"}, "holdout": False}]
    tree["model"] = {"labels": ["left", "right", "unknown"], "non_intents": ["unknown"]}
    return Recipe.model_validate(tree)


def test_words_and_sentences_are_spoken_in_many_voices(
    intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(name: str, *more: object) -> dict[str, bytes]:
        arguments = ["left", "right", "--voices", 4, "--sentences", 3]
        assert intentd_train("synthesize", tmp_path / name, *arguments, *more) == 0
        return files(tmp_path / name)

    one = made("one")
    assert "11 recordings" in capsys.readouterr().out
    folders = [Path(name).parts[0] for name in one]
    assert {f: folders.count(f) for f in folders} == {"left": 4, "right": 4, "_sentences": 3}
    assert any("en-" in name for name in one), "nothing by espeak-ng"
    assert any("en-" not in name for name in one), "nothing by Flite"
    spoken = {}
    for name in one:
        samples, rate = soundfile.read(tmp_path / "one" / name)
        assert (rate, samples.ndim) == (16000, 1)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
        assert 0.2 < len(samples) / rate < (8 if "_sentences" in name else 2)
        spoken[name] = samples
    words = [len(s) for n, s in spoken.items() if "_sentences" not in n]
    sentences = [len(s) for n, s in spoken.items() if "_sentences" in n]
    assert np.median(sentences) > 1.5 * np.median(words)
    assert made("again") == one
    assert set(made("other", "--seed", 1)).isdisjoint(one)
    loaded = load_clips(recipe_of(tmp_path / "one"))
    assert not loaded.problems
    labels = [clip.label for clip in loaded.clips]
    assert labels.count("unknown") == 3
    assert labels.count("left") == 4


def test_a_folder_that_is_not_empty_is_left_alone(
    intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert intentd_train("synthesize", tmp_path, "left") == 2
    assert "is not empty" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]
