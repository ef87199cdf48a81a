"""What training says of own words is what the daemon does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.small_world import small_world
from support.taught import run_command
from support.train_helpers import tiny_base, word, write_words
from support.word_teacher import small_word_teacher

from daemon.model.verifier.description import find_verifier
from daemon.model.verifier.verifier import Verifier as LoadedVerifier
from train.simulation.offline import CachedScores, replay
from train.words.embedder import Embedder
from train.words.folder import read_folder
from train.words.gathering import FOLDS, Examples
from train.words.judging import Recording
from train.words.learn import Learned, fit
from train.words.material import Material, material_of
from train.words.settings import Settings
from train.world import NOISE, recordings

WORDS = ("fall", "rise")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_word_teacher(tmp_path_factory.mktemp("network") / "network.onnx")


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, network: Path
) -> Iterator[tuple[Material, Learned]]:
    root = tmp_path_factory.mktemp("own")
    own = read_folder(write_words(root / "mywords", WORDS, 5))
    settings = Settings(
        base=str(tiny_base(root / "base")),
        window=1.0,
        verifier=str(network),
        alarms_per_hour=100.0,  # a minute of talk tells nothing of rarer ones
        threads=1,
    )
    with small_world(root):
        embedder = Embedder(settings.base, 1.0, 1)
        numbers = range(len(recordings()))
        material = material_of(own, numbers, embedder, settings)
        yield material, fit(material, settings)


def fires(learned: Learned, recording: Recording, label: str, threshold: float) -> bool:
    """Whether the daemon raises an event of a label at this threshold."""
    settings = learned.settings.with_thresholds(dict.fromkeys(WORDS, threshold))
    stream = recording.stream
    logits = learned.judge.model.of(recording.fold).logits(stream.embeddings)
    cached = CachedScores(stream.samples, stream.speech_probabilities, logits)
    if (verifier := learned.judge.verifier) is not None:
        settings = dataclasses.replace(settings, verification=verifier.verification)
        posteriors = learned.judge.posteriors(recording)
        cached = dataclasses.replace(cached, verifier_posteriors=posteriors)
    return label in {event.intent for event in replay(cached, settings, learned.temperature).events}


@pytest.mark.parametrize("verified", [False, True])
def test_the_daemon_fires_up_to_the_score_and_not_above(
    fitted: tuple[Material, Learned], verified: bool
) -> None:
    material, learned = fitted
    if not verified:
        judge = dataclasses.replace(learned.judge, verifier=None)
        learned = dataclasses.replace(learned, judge=judge)
    tried = 0
    for level in (20.0, 10.0):
        for recording, take in zip(material.streams[level], material.takes, strict=True):
            score = float(learned.scores([recording])[0, learned.labels.index(take.word)])
            if 0.005 < score < 0.998:
                assert fires(learned, recording, take.word, score - 0.001)
                assert not fires(learned, recording, take.word, score + 0.001)
                tried += 1
    assert tried >= 3


def test_no_take_is_judged_by_a_head_that_learned_from_it(
    fitted: tuple[Material, Learned],
) -> None:
    material, learned = fitted
    for recordings_at in material.streams.values():
        folds = [each.fold for each in recordings_at]
        assert set(folds) == set(learned.judge.model.folds)
    assert isinstance(material.examples, Examples)
    learned_from = {-2 - group for group in material.examples.groups.tolist() if group < -1}
    talk = [number for number, each in enumerate(recordings()) if each.kind != NOISE]
    assert learned_from
    for recording, number in zip(material.talk, talk, strict=True):
        assert recording.fold == (number % FOLDS if number in learned_from else -1)


def test_the_model_brings_its_verifier(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_words(tmp_path / "mywords", WORDS, 4)
    base = tiny_base(tmp_path / "base")
    model = tmp_path / "model"
    with small_world(tmp_path):
        status = run_command(
            *("words", folder, "--base", base, "--output", model, "--no-voices"),
            *("--verifier", network, "--alarms-per-hour", 100),
        )
    assert status == 0
    labels = ("fall", "rise", "unknown", "background")
    info = find_verifier(model, "auto", labels)
    assert info is not None
    assert set(info.thresholds) == set(WORDS)
    posterior = LoadedVerifier(info, labels).posterior(np.resize(word("rise", 3), 24_000))
    assert posterior.shape == (4,)
    assert "verifier" in (model / "README.md").read_text()


def test_a_network_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_words(tmp_path / "mywords", WORDS, 2)
    base = tiny_base(tmp_path / "base")
    with small_world(tmp_path):
        arguments = ("--base", base, "--output", tmp_path / "model", "--no-voices")
        assert run_command("words", folder, *arguments, "--verifier", tmp_path / "no.onnx") == 2
    assert "no.onnx" in capsys.readouterr().err
