"""What a model takes for its words is found and kept, to train the next one on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from taught import Command, Taught
from train_helpers import RATE, word

from train.data import load_plain


def test_what_sounds_like_an_intent_is_kept_with_what_lies_about_it(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pause = np.zeros(2 * RATE, np.float32)
    (others := tmp_path / "others").mkdir()
    soundfile.write(others / "wolf.flac", np.concatenate([pause, word("rise", 100), pause]), RATE)
    soundfile.write(others / "sheep.flac", np.concatenate([pause, word("flat", 101), pause]), RATE)
    out = tmp_path / "mined"
    assert intentd_train("mine", taught.model, others, out, "--least", 0.5) == 0
    assert "most of them taken for rise" in capsys.readouterr().out
    kept = sorted(out.rglob("*.flac"))
    assert [f.parent.name for f in kept] == ["rise"] * len(kept)
    assert all(f.name.startswith("wolf-") for f in kept)
    assert 1 <= len(kept) <= 2
    # The piece lies where its name says, with the word in it.
    samples, rate = soundfile.read(kept[0], dtype="float32")
    start = int(kept[0].stem.rsplit("-", 1)[1]) / 1000
    whole, _ = soundfile.read(others / "wolf.flac", dtype="float32")
    first = round(start * rate)
    np.testing.assert_allclose(samples, whole[first : first + len(samples)], atol=1e-4)
    assert 1.0 <= len(samples) / rate <= 1.5
    assert np.abs(samples).max() > 0.05
    assert len(load_plain(str(out))) == len(kept)


def test_a_folder_that_is_not_empty_is_left_alone(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert intentd_train("mine", taught.model, taught.folder / "words", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
