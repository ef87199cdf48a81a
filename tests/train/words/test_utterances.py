"""`intentd-train words --unit utterance`: sentences in folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.small_world import small_world
from support.speech_packages import missing_synthesisers
from support.taught import run_command
from support.train_helpers import RATE

from daemon.model.classifier import load_classifier
from train.data.synthesis import Voice, speak
from train.evaluation.evaluate import settings_of
from train.examples.utterances import pool_logits
from train.recipe_files import load_recipe
from train.simulation.offline import replay, score_recordings
from train.words.utterances import pooled

HOP = 0.24
pytestmark = pytest.mark.skipif(bool(missing_synthesisers()), reason="needs espeak-ng")


SAID = {
    "light": (
        "switch on the light in the kitchen",
        "please make some light here",
        "turn the light off before you go",
    ),
    "music": (
        "play some music for us",
        "can we hear music now please",
        "I would like to have music in here",
    ),
}
NEW = {"light": "would you put the light on now", "music": "it is time for some music here"}


def sentence(text: str, number: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A sentence in one of three voices."""
    voice = Voice("espeak-ng", f"en-us+m{1 + number % 3}", 1.0 + 0.05 * number, 1.0)
    return (0.5 * speak(text, voice)).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("sentences")
    folder = root / "requests"
    for label, texts in SAID.items():
        (folder / label).mkdir(parents=True)
        for number, text in enumerate(texts * 2):
            soundfile.write(folder / label / f"{number}.wav", sentence(text, number), RATE)
    with small_world(root):
        status = run_command(
            *("words", folder, "--unit", "utterance", "--output", root / "model"),
            *("--alarms-per-hour", "100"),  # a minute of talk tells nothing of rarer ones
        )
        assert status == 0
        yield folder, root / "model"


def test_is_a_model_of_utterances(made: tuple[Path, Path]) -> None:
    info = load_classifier(made[1], backend="torch").info
    assert info.unit == "utterance"
    assert info.labels == ("light", "music", "unknown", "background")
    assert set(info.settings()["events"]["thresholds"]) == {"light", "music"}


def test_tells_new_sentences_apart(made: tuple[Path, Path]) -> None:
    classifier = load_classifier(made[1], backend="torch")
    settings = settings_of(classifier)
    labels = classifier.labels
    quiet = np.zeros(RATE, np.float32)
    for label, text in NEW.items():
        sound = np.concatenate([quiet, sentence(text, 1), quiet])
        cached = score_recordings([sound], settings, classifier.logits)[0]
        predictions = replay(cached, settings, classifier.info.temperature).predictions
        last = [each.rolling for each in predictions if each.scores is not None][-1]
        assert labels[int(last.argmax())] == label


def test_the_recipe_beside_it_is_one_of_utterances(made: tuple[Path, Path]) -> None:
    recipe = load_recipe(str(made[1] / "recipe.toml"))
    assert recipe.model.unit == "utterance"
    assert recipe.model.labels == ("light", "music", "unknown")
    assert recipe.data[0].placing == "crop"


def test_another_unit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("words", tmp_path, "--unit", "sentence") == 2
    assert "neither word nor utterance" in capsys.readouterr().err


def test_evidence_is_pooled_as_the_daemon_does() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([1, 4, 9, 2])
    logits = torch.from_numpy(rng.normal(0, 6, (sizes.sum(), 3)).astype(np.float32))
    expected = pool_logits(logits, torch.from_numpy(sizes), HOP)
    assert torch.allclose(pooled(logits, sizes, HOP), expected, atol=1e-4)
