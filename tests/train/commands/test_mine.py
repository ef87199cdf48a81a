"""What a model takes for its words is kept, to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.taught import Command, Taught
from support.train_helpers import RATE, word

from daemon.model.classifier import load_classifier
from train.data.clips import load_plain


def test_what_sounds_like_an_intent_is_kept_with_what_lies_about_it(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pause = np.zeros(2 * RATE, np.float32)
    (others := tmp_path / "others").mkdir()
    words = [word(label, 100 + n) for n, label in enumerate(("rise", "flat", "fall", "flat"))]
    sound = np.concatenate([pause, *(piece for each in words for piece in (each, pause))])
    soundfile.write(others / "talk.flac", sound, RATE)
    (others / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(400))
    out = tmp_path / "mined"
    assert intentd_train("mine", taught.model, others, out, "--least", 0.5) == 0
    said, complaints = capsys.readouterr()
    assert "1 left out; the first, phone.m4a, is MPEG-4" in complaints
    kept = {file: file.parent.name for file in sorted(out.rglob("*.flac"))}
    assert f"{len(kept)} pieces" in said and len(kept) >= 2

    # What the daemon's classifier says of every window, the gate aside.
    classifier = load_classifier(taught.model, backend="torch")
    heard, _ = soundfile.read(others / "talk.flac", dtype="float32")
    hop = round(0.24 * RATE)
    starts = np.arange(0, len(heard) - RATE, hop)
    scores = classifier.classify(np.stack([heard[n : n + RATE] for n in starts]))
    intents = [n for n, label in enumerate(classifier.labels) if label != "flat"]
    probabilities = scores[:, intents].max(axis=-1)
    found = []
    for file, label in kept.items():
        samples, rate = soundfile.read(file, dtype="float32")
        first = int(file.stem.rsplit("-", 1)[1]) * rate // 1000
        np.testing.assert_allclose(samples, heard[first : first + len(samples)], atol=1e-4)
        assert len(samples) == RATE + 2 * hop
        number = (first + hop) // hop
        found.append(number)
        assert probabilities[number] >= 0.5
        assert classifier.labels[intents[int(scores[number, intents].argmax())]] == label
    assert np.diff(sorted(found)).min() > 4, "two pieces of the same sound"
    assert probabilities[found].max() == pytest.approx(probabilities.max(), abs=1e-5)
    assert len(load_plain(str(out))) == len(kept)


def test_a_folder_that_is_not_empty_is_left_alone(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert intentd_train("mine", taught.model, taught.folder / "words", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
