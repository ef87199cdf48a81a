"""Overlapping windows share frames; scores are those of whole windows."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_checkpoints import RATE, save, windows

from daemon.model.backends import choices, reusing
from daemon.model.backends.reusing import KEPT, Reusing
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.overlap import Overlap
from daemon.model.probe import following_windows

HOP = 3840
SETTINGS: dict[str, Any] = {"backend": "torch-cpu", "threads": 1}


pytestmark = pytest.mark.usefixtures("own_graphs")


def per_frame(directory: Path, kind: str = "wav2vec2", **changes: Any) -> Path:
    """A checkpoint that frames can be used again of."""
    save(directory, kind, feat_extract_norm="layer", **changes)
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_normalize": False}))
    return directory


def streams(count: int, length: int, hop: int = HOP) -> list[np.ndarray[Any, Any]]:
    """The windows of each of so many streams, shape (n, samples)."""
    sounds = windows(count, length)
    starts = range(0, length - RATE + 1, hop)
    return [np.stack([sound[at : at + RATE] for at in starts]) for sound in sounds]


def reused(classifier: Classifier) -> int:
    assert isinstance(classifier._backend, Reusing)
    return classifier._backend.reused


@pytest.mark.parametrize("backend", ["torch-cpu", "onnx"])
@pytest.mark.parametrize(
    "kind",
    ["wav2vec2", "wav2vec2-weighted-layers", "wav2vec2-conformer", "hubert", "wavlm", "unispeech",
     "unispeech-sat"],
)  # fmt: skip
def test_scores_are_those_of_whole_windows(backend: str, kind: str, tmp_path: Path) -> None:
    directory = per_frame(tmp_path, kind)
    settings = SETTINGS | {"backend": backend, "max_batch": 7}
    plain = load_classifier(directory, **settings)
    found = load_classifier(directory, hop_seconds=HOP / RATE, **settings)
    assert not isinstance(plain._backend, Reusing)
    # Three streams in any order, some windows left out as the gate does, batches of any size.
    rng = np.random.default_rng(1)
    queues = [list(stream) for stream in streams(3, 5 * RATE)]
    order = []
    while any(queues):
        queue = queues[rng.integers(3)]
        if queue:
            window = queue.pop(0)
            if rng.random() < 0.85:
                order.append(window)
    at = 0
    while at < len(order):
        size = int(rng.integers(1, 12))
        batch = order[at : at + size]
        np.testing.assert_allclose(found.classify(batch), plain.classify(batch), atol=2e-5)
        at += size
    assert 0.5 * len(order) < reused(found) < 0.9 * len(order)


def test_silence_and_repetition_are_no_trouble(tmp_path: Path) -> None:
    directory = per_frame(tmp_path)
    plain = load_classifier(directory, **SETTINGS)
    found = load_classifier(directory, hop_seconds=HOP / RATE, **SETTINGS)
    sound = windows(1)[0]
    tone = np.sin(np.arange(RATE, dtype=np.float32) * np.float32(2 * np.pi * 100 / RATE))
    click = np.zeros(RATE, np.float32)
    click[-1] = 1.0
    silence = np.zeros(RATE, np.float32)
    batch = [silence, sound, sound, click, tone, tone, silence]
    for _ in range(2):
        np.testing.assert_allclose(found.classify(batch), plain.classify(batch), atol=2e-5)
    # Beginnings that are alike don't make windows follow each other.
    other = np.concatenate([sound[HOP:], sound[:HOP]])
    other[2000] += 0.1
    before = reused(found)
    found.classify([sound])
    np.testing.assert_allclose(found.classify([other]), plain.classify([other]), atol=2e-5)
    assert reused(found) == before


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_classifier(per_frame(tmp_path), hop_seconds=HOP / RATE, **SETTINGS)
    assert isinstance(found._backend, Reusing)
    for _ in range(3):
        found.classify(np.random.default_rng(0).standard_normal((150, RATE)).astype(np.float32))
        found.classify(np.random.default_rng(1).standard_normal((150, RATE)).astype(np.float32))
    assert len(found._backend._kept) == KEPT
    # What long windows would take is bounded too.
    monkeypatch.setattr(reusing, "KEPT_BYTES", 1 << 20)
    found.classify([windows(1)[0]])
    kept = found._backend._kept.values()
    assert len(kept) > 2 and sum(a.nbytes + b.nbytes for a, b in kept) <= 1 << 20


@pytest.mark.parametrize("many", [3, 200])
def test_many_streams_at_once(many: int, tmp_path: Path) -> None:
    directory = per_frame(tmp_path)
    plain = load_classifier(directory, **SETTINGS)
    found = load_classifier(directory, hop_seconds=HOP / RATE, **SETTINGS)
    held = streams(many, RATE + 3 * HOP)
    for number in range(4):
        batch = [stream[number] for stream in held]
        np.testing.assert_allclose(found.classify(batch), plain.classify(batch), atol=2e-5)
    assert reused(found) == 3 * many


def test_where_frames_can_not_be_used_again_windows_stay_whole(tmp_path: Path) -> None:
    layer = per_frame(tmp_path / "layer")
    group = save(tmp_path / "group", do_normalize=False)
    normal = save(tmp_path / "normal", feat_extract_norm="layer")
    cases = ((layer, 0.25), (layer, 1.0), (layer, 0.0), (group, 0.24), (normal, 0.24))
    for directory, hop in cases:
        classifier = load_classifier(directory, hop_seconds=hop, **SETTINGS)
        assert not isinstance(classifier._backend, Reusing), (directory, hop)


def test_which_frames_are_shared(tmp_path: Path) -> None:
    from daemon.model.description.info import read_model_info

    found = Overlap.of(read_model_info(per_frame(tmp_path)), RATE, HOP)
    # Kernels of 10, 8 and 4 with strides of 5, 8 and 8: 165 samples a frame, every 320.
    assert found == Overlap(RATE, HOP, 50, 12, slice(38 * 320, 49 * 320 + 165))
    assert found.shared == 38


def test_the_bundled_model_uses_frames_again() -> None:
    found = load_classifier("bundled", hop_seconds=0.24, backend="onnx", threads=1)
    plain = load_classifier("bundled", backend="onnx", threads=1)
    for window in streams(1, 3 * RATE)[0]:
        np.testing.assert_allclose(found.classify([window]), plain.classify([window]), atol=1e-4)
    assert reused(found) == 8


def test_windows_to_time_backends_on_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = following_windows(RATE, HOP, 200)  # longer than the recording that they are of
    assert found.shape == (200, RATE)
    for one, two in pairwise(found):
        np.testing.assert_array_equal(one[HOP:], two[:-HOP])
    assert len(np.unique(found[:, :100], axis=0)) > 100
    monkeypatch.setattr(choices, "cache_directory", lambda: tmp_path / "choices")
    classifier = load_classifier("bundled", hop_seconds=HOP / RATE, threads=1)
    runtime = classifier._backend
    assert classifier.choice is not None and len(classifier.choice.trials) > 1
    if isinstance(runtime, Reusing):
        assert runtime.reused > 20
