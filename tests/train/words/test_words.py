"""`intentd-train words`: from a folder to a model that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.small_world import small_world
from support.taught import run_command
from support.train_helpers import RATE, tiny_base, word, write_words
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from daemon.model.classifier import load_classifier
from train.evaluation.evaluate import settings_of
from train.evaluation.scoring import score
from train.recipe_files import load_recipe
from train.simulation.offline import replay, score_recordings
from train.simulation.tracks import ReferenceEvent


@dataclass(frozen=True)
class Made:
    folder: Path
    base: Path
    model: Path
    printed: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("own")
    folder = write_words(root / "mywords", ("rise", "fall"), 6)
    near = folder / "_near"
    near.mkdir()
    for number in range(4):
        soundfile.write(near / f"flat-{number}.wav", word("flat", number), RATE)
    base = tiny_base(root / "base")
    with small_world(root):
        status = run_command(
            *("words", folder, "--base", base, "--output", root / "model", "--no-voices"),
            *("--alarms-per-hour", "100"),  # a minute of talk tells nothing of rarer ones
        )
        assert status == 0
        yield Made(folder, base, root / "model", "")


def test_is_a_model_directory_like_any_other(made: Made) -> None:
    classifier = load_classifier(made.model, backend="torch")
    assert classifier.labels == ("fall", "rise", "unknown", "background")
    info = classifier.info
    assert info.non_intents == {"unknown", "background"}
    assert set(info.settings()["events"]["thresholds"]) == {"fall", "rise"}
    window = word("rise", 77)[:16_000]
    window = np.pad(window, (0, 16_000 - len(window)))
    network = AutoModelForAudioClassification.from_pretrained(made.model)
    extractor = AutoFeatureExtractor.from_pretrained(made.model)
    with torch.inference_mode():
        inputs = extractor(window, sampling_rate=RATE, return_tensors="pt")
        theirs = network(**inputs).logits[0].numpy()
    assert np.allclose(theirs, classifier.logits([window])[0], atol=1e-3)


def test_hears_new_takes_and_is_quiet_in_between(made: Made) -> None:
    classifier = load_classifier(made.model, backend="torch")
    setup = settings_of(classifier)
    pieces, truth, at = [np.zeros(RATE, np.float32)], [], RATE
    for number, label in enumerate(("rise", "flat", "fall", "rise", "flat", "fall")):
        samples = word(label, 500 + number)
        begin, end = at / RATE, (at + len(samples)) / RATE
        truth.append(ReferenceEvent(label, begin, end, end, label != "flat"))
        pieces += [samples, np.zeros(2 * RATE, np.float32)]
        at += len(samples) + 2 * RATE
    track = np.concatenate(pieces).astype(np.float32)
    heard = score_recordings([track], setup, classifier.logits)[0]
    outcome = replay(heard, setup, classifier.info.temperature)
    found = score(outcome.events, truth, len(track) / RATE / 3600)
    assert found.hits >= 3
    assert found.false_alarms == 0


def test_says_what_to_expect(made: Made) -> None:
    figures = json.loads((made.model / "metrics.json").read_text())
    assert figures["words"]["rise"]["takes"] == 6
    assert set(figures["words"]["rise"]["heard"]) == {
        "in quiet",
        "in noise at 20 dB",
        "in noise at 10 dB",
    }
    assert figures["talk_hours"] > 0
    card = (made.model / "README.md").read_text()
    assert 'Of ten times that you say "rise"' in card
    assert "False alarms in other people's talk" in card


def test_the_recipe_beside_it_can_be_trained_on(made: Made) -> None:
    recipe = load_recipe(str(made.model / "recipe.toml"))
    assert recipe.model.labels == ("fall", "rise", "unknown", "background")
    assert Path(recipe.root) == made.folder.resolve()
    assert [section.path for section in recipe.data][:2] == [".", "_near"]


def test_other_folders_are_left_alone(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert run_command("words", made.folder, "--output", tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "has no subfolder with recordings"),
        (lambda folder: write_words(folder, ("rise",), 1), "needs 2 at least"),
        (
            lambda folder: (
                write_words(folder, ("rise",), 3).joinpath("rise").rename(folder / "unknown")
            ),
            "is a label of its own",
        ),
    ],
)
def test_says_what_is_wrong_with_a_folder(
    build: object, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path / "words")  # type: ignore[operator]
    assert run_command("words", tmp_path / "words", "--output", tmp_path / "model") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
