"""A verifier's folder: what is read, what is refused, what it answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.making import speechlike
from support.small_verifier import small_verifier

from daemon.base.errors import UserError
from daemon.decide.rolling import softmax
from daemon.model.verifier.description import find_verifier, read_verifier, write_description
from daemon.model.verifier.filterbank import SOUND
from daemon.model.verifier.network import WordEmbedding
from daemon.model.verifier.verifier import Verifier, read_head, write_head

LABELS = ("up", "down", "unknown")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small_verifier(tmp_path / "verifier", LABELS)
    return tmp_path


def test_the_folder_in_a_model_is_found_and_off_is_off(model: Path, tmp_path: Path) -> None:
    found = find_verifier(model, "auto", LABELS)
    assert found is not None and found.labels == LABELS
    assert (found.verification.candidate, found.verification.asks) == (0.2, 2)
    assert found.verification.verifier_weight == 1.0 and found.thresholds == {"up": 0.6}
    assert find_verifier(model, "off", LABELS) is None
    assert find_verifier(tmp_path / "verifier", "auto", LABELS) is None
    other = find_verifier(tmp_path / "nowhere", str(model / "verifier"), LABELS)
    assert other is not None and other.network.is_file()


def test_what_is_written_is_read_again(model: Path) -> None:
    info = read_verifier(model / "verifier")
    assert info.rolling_windows is None
    for written in (info, replace(info, rolling_windows=2)):
        write_description(written)
        assert read_verifier(model / "verifier") == written


def test_it_says_what_its_layer_makes_of_the_vector_in_the_models_order(model: Path) -> None:
    info = read_verifier(model / "verifier")
    turned = ("unknown", "up", "down")
    straight, other = Verifier(info, LABELS), Verifier(info, turned)
    sound = speechlike(SOUND / 16_000, seed=3)[:SOUND]
    said = straight.posterior(sound)
    weight, bias = read_head(model / "verifier" / "head.safetensors")
    vector = WordEmbedding(info.network).vectors(sound[None])[0]
    np.testing.assert_allclose(said, softmax((weight @ vector + bias).astype(np.float64)))
    np.testing.assert_allclose(other(sound, 7), said[[2, 0, 1]], rtol=1e-5)
    assert said.sum() == pytest.approx(1) and said.std() > 0.01
    # The level does not matter.
    np.testing.assert_allclose(straight.posterior(0.1 * sound), said, atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2}, ["version is 2", "bring intentd up to date"]),
        ({"labels": ["up", "up", "unknown"]}, ["labels", "two different"]),
        ({"network": "../network.onnx"}, ["network is", '"bundled"']),
        ({"thresholds": {"left": 0.5}}, ["'left'", "no label"]),
        ({"thresholds": {"up": 1.5}}, ["thresholds.up is 1.5"]),
        ({"verification": {"asks": 0}}, ["verification.asks is 0"]),
        ({"verification": {"candidate": "x"}}, ["verification.candidate"]),
        ({"rolling_windows": 0}, ["rolling_windows is 0"]),
        ({"colour": 1}, ["colour", "absent"]),
    ],
)
def test_a_wrong_description_is_one_sentence(
    tmp_path: Path, changed: dict[str, Any], words: list[str]
) -> None:
    folder = small_verifier(tmp_path / "verifier", LABELS, changed=changed)
    with pytest.raises(UserError) as caught:
        read_verifier(folder)
    assert all(word in str(caught.value) for word in [*words, "verifier.json"])


def test_a_verifier_of_another_model_or_unit_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match=r"knows the labels up, down, unknown"):
        find_verifier(model, "auto", ("yes", "no"))
    with pytest.raises(UserError, match=r"whole utterances"):
        find_verifier(model, "auto", LABELS, "utterance")
    with pytest.raises(UserError, match=r"no verifier"):
        find_verifier(model, str(model), LABELS)


def test_damaged_files_are_one_sentence(model: Path) -> None:
    folder = model / "verifier"
    info = read_verifier(folder)
    head = (folder / "head.safetensors").read_bytes()
    (folder / "head.safetensors").write_bytes(head[:50])
    with pytest.raises(UserError, match=r"no linear layer"):
        Verifier(info, LABELS)
    write_head(folder / "head.safetensors", np.ones((3, 5), np.float32), np.zeros(3, np.float32))
    with pytest.raises(UserError, match=r"does not fit"):
        Verifier(info, LABELS)
    (folder / "head.safetensors").write_bytes(head)
    (folder / "network.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"trained on another network"):
        Verifier(info, LABELS)
    content = json.loads((folder / "verifier.json").read_text()) | {"sha256": ""}
    (folder / "verifier.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"149 frames of 64"):
        Verifier(read_verifier(folder), LABELS)
    (folder / "network.onnx").unlink()
    with pytest.raises(UserError, match=r"lacks network\.onnx"):
        read_verifier(folder)
