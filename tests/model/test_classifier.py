"""Scores against transformers' own pipeline, for each architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.model_checkpoints import KINDS, LABELS, RATE, save, windows

from daemon.base.errors import UserError
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.description.info import Calibration, write_intentd_key
from daemon.model.errors import ModelError

Checkpoint = Callable[[str], Path]


def by_pipeline(directory: Path, sounds: np.ndarray, **options: str) -> np.ndarray:
    """Probabilities by transformers, each window alone, in order of LABELS."""
    from transformers import pipeline

    judge = pipeline("audio-classification", model=str(directory), device="cpu")
    rows = []
    for sound in sounds:
        found = {
            entry["label"]: entry["score"] for entry in judge(sound.copy(), top_k=None, **options)
        }
        rows.append([found[label] for label in LABELS])
    return np.array(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_pipeline(kind: str, checkpoint: Checkpoint) -> None:
    sounds = windows(3)
    classifier = load_classifier(checkpoint(kind), backend="torch", threads=1)
    found = classifier.classify(sounds)
    expected = by_pipeline(checkpoint(kind), sounds)
    assert np.ptp(expected, axis=0).max() > 1e-3, "the windows must be told apart by the scores"
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert classifier.labels == LABELS
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_does_not_see_its_batch(kind: str, checkpoint: Checkpoint) -> None:
    sounds = windows(5)
    sounds[1] *= 30  # a loud neighbour
    classifier = load_classifier(checkpoint(kind), threads=1, max_batch=3)
    together = classifier.logits(sounds)
    alone = np.concatenate([classifier.logits(sounds[n : n + 1]) for n in range(5)])
    backwards = classifier.logits(sounds[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=2e-5 * np.abs(alone).max())
    np.testing.assert_allclose(together, backwards, atol=2e-5 * np.abs(alone).max())


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2-layer-norm"])
def test_views_of_a_stream_are_left_as_they_are(kind: str, checkpoint: Checkpoint) -> None:
    stream = windows(1, 2 * RATE)[0]
    before = stream.copy()
    views = [stream[start : start + RATE] for start in (0, 3840, 7680)]
    classifier = load_classifier(checkpoint(kind), threads=1)
    by_views = classifier.logits(views)
    stacked = np.stack(views)
    np.testing.assert_array_equal(by_views, classifier.logits(stacked))
    np.testing.assert_array_equal(stream, before)
    np.testing.assert_array_equal(stacked, np.stack(views))
    stream.flags.writeable = False
    np.testing.assert_array_equal(by_views, classifier.logits(views))


def test_temperature_divides_the_logits(tmp_path: Path) -> None:
    directory = save(tmp_path)
    sounds = windows(2)
    plain = load_classifier(directory, backend="torch-cpu", threads=1)
    write_intentd_key(directory, Calibration(temperature=2.5))
    warm = load_classifier(directory, backend="torch-cpu", threads=1)
    logits = plain.logits(sounds).astype(np.float64)
    np.testing.assert_allclose(logits, warm.logits(sounds), atol=1e-5)
    expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(warm.classify(sounds), expected, atol=1e-6)
    assert np.abs(plain.classify(sounds) - expected).max() > 0.01


def test_a_multi_label_model_has_independent_probabilities(tmp_path: Path) -> None:
    directory = save(tmp_path, problem_type="multi_label_classification")
    sounds = windows(2)
    found = load_classifier(directory, threads=1).classify(sounds)
    # Older pipelines take every model for one of a single label.
    expected = by_pipeline(directory, sounds, function_to_apply="sigmoid")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found.sum(axis=1) - 1).max() > 0.01


def test_window_length_comes_from_the_caller_then_the_model_then_a_second(tmp_path: Path) -> None:
    directory = save(tmp_path)
    assert load_classifier(directory, threads=1).window == RATE
    write_intentd_key(directory, Calibration(window=1.5))
    assert load_classifier(directory, threads=1).window == 24_000
    classifier = load_classifier(directory, threads=1, window_seconds=0.5)
    assert classifier.window == 8000
    assert classifier.classify(windows(2, 8000)).shape == (2, len(LABELS))
    with pytest.raises(ValueError, match="8000 samples"):
        classifier.classify(windows(2, 8001))


def test_no_windows_no_scores(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), threads=1)
    assert classifier.classify([]).shape == (0, len(LABELS))


@pytest.mark.parametrize(
    ("kind", "seconds", "words"),
    [
        ("wav2vec2", 0.01, "too short"),
        ("audio-spectrogram-transformer", 2.0, "too long"),
        ("whisper", 30.1, "too long"),
        ("wavlm", 29_000.0, "GB of memory for one window"),
    ],
)
def test_windows_that_the_network_cannot_take(
    kind: str, seconds: float, words: str, checkpoint: Checkpoint
) -> None:
    with pytest.raises(UserError, match=words):
        load_classifier(checkpoint(kind), window_seconds=seconds)


@pytest.mark.parametrize("kind", ["wav2vec2", "sew", "wav2vec2-conformer", "data2vec-audio"])
def test_the_shortest_window_runs_and_one_sample_less_does_not(
    kind: str, checkpoint: Checkpoint
) -> None:
    shortest = load_classifier(checkpoint(kind), threads=1).info.architecture.shortest
    classifier = load_classifier(checkpoint(kind), threads=1, window_seconds=shortest / RATE)
    assert np.isfinite(classifier.classify(windows(1, shortest))).all()
    assert classifier.info.architecture.frames(shortest) == 1
    assert classifier.info.architecture.frames(shortest - 1) == 0


def test_the_longest_window_is_classified_to_its_end(checkpoint: Checkpoint) -> None:
    info = load_classifier(checkpoint("audio-spectrogram-transformer"), threads=1).info
    longest = info.extractor.longest
    assert longest is not None
    classifier = load_classifier(info.directory, threads=1, window_seconds=longest / RATE)
    sound = windows(1, longest)
    changed = sound.copy()
    changed[0, -900:-700] += 0.5  # the network's patches leave the last two frames out
    assert np.abs(classifier.logits(sound) - classifier.logits(changed)).max() > 1e-3


def test_scores_that_are_not_finite_are_an_error(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), threads=1)
    sounds = windows(2)
    sounds[1, 5] = np.nan
    with pytest.raises(ModelError, match="not finite") as caught:
        classifier.classify(sounds)
    assert caught.value.status == 1


def test_batches_are_bounded(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), threads=1, max_batch=4)
    sizes: list[int] = []
    run = classifier._backend.run

    class Counting:
        name = classifier.backend

        def run(self, inputs: np.ndarray) -> np.ndarray:
            sizes.append(len(inputs))
            return run(inputs)

    counted = Classifier(classifier.info, Counting(), classifier._features, RATE, 4)
    np.testing.assert_array_equal(counted.classify(windows(10)), classifier.classify(windows(10)))
    assert sizes == [4, 4, 2]


def test_large_windows_go_in_smaller_batches(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(
        checkpoint("wavlm"), backend="torch-cpu", threads=1, window_seconds=20.0, max_batch=4096
    )
    needed = classifier.info.architecture.working_bytes(20 * RATE)
    assert 1 <= classifier.max_batch < 4096
    assert classifier.max_batch * needed <= 1 << 30
