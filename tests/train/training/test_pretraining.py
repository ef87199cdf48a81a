"""Distilling an encoder from a small teacher with random weights."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.forked import Forked, run_forked
from support.train_helpers import (
    recipe_tree,
    run_of,
    tiny_base,
    write_recipe,
    write_words,
)
from transformers import AutoModelForAudioClassification

from daemon.base.errors import UserError
from train import pipeline as steps
from train.recipe import Recipe
from train.recipe_files import load_recipe
from train.training.fast_convolution import quicken
from train.training.trainer import IntentTrainer


def test_matrix_products_give_what_convolutions_give(tmp_path: Path) -> None:
    model = AutoModelForAudioClassification.from_pretrained(tiny_base(tmp_path / "base"))
    model.eval()
    values = 0.1 * torch.randn(3, 16_000)
    logits = model(values).logits
    logits.sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert quicken(model)
    again = model(values).logits
    again.sum().backward()
    assert torch.allclose(logits, again, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in gradients:
            assert torch.allclose(gradients[name], parameter.grad, atol=1e-3, rtol=1e-3), name


def pretraining(place: Path, teacher: Path, **train: Any) -> dict[str, Any]:
    tree = recipe_tree(place / "words", place / "base", **train)
    tree["model"] = {"base": str(place / "base")}
    tree["data"] = [{"path": "words", "label": "speech", "placing": "word"}]
    tree["distil"] = {"teacher": str(teacher), "cache": str(place / "cache")}
    tree["augment"] |= {"babble_probability": 0.5, "codec_probability": 0.3}
    return tree


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    write_words(folder / "words", ("rise", "fall", "flat"), 8)
    tiny_base(folder / "base")
    return folder


def test_an_encoder_is_pretrained_and_finetuned_from(
    place: Path, word_teacher: Path, tmp_path: Path
) -> None:
    tree = pretraining(place, word_teacher, steps=40, eval_every=20, learning_rate=5e-3)
    figures = steps.train(run_of(tree, tmp_path / "encoder"))
    distances = [row["eval_loss"] for row in figures["log"] if "eval_loss" in row]
    assert distances[-1] < distances[0]
    # The vectors of this teacher lie all over: what knows nothing of the window is one off.
    assert figures["distance"] < 0.6
    assert figures["distance"] == pytest.approx(distances[-1], abs=1e-6)
    assert "EfficientWord-Net" in (tmp_path / "encoder" / "README.md").read_text()
    with pytest.raises(UserError, match="finished"):
        steps.train(run_of(tree, tmp_path / "encoder"))

    from train.training.initial_model import build_model

    words = recipe_tree(place / "words", tmp_path / "encoder")
    model, _ = build_model(Recipe.model_validate(words), ("rise", "fall", "flat"))
    start, _ = build_model(
        Recipe.model_validate(recipe_tree(place / "words", place / "base")),
        ("rise", "fall", "flat"),
    )
    name = "wav2vec2.feature_extractor.conv_layers.1.conv.weight"
    trained = model.state_dict()[name]
    assert not torch.equal(trained, start.state_dict()[name])
    saved = safetensors.torch.load_file(tmp_path / "encoder" / "model.safetensors")
    assert torch.equal(trained, saved[name])


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_pretraining_that_stopped_goes_on(
    place: Path, word_teacher: Path, tmp_path: Path, at_the_end: bool
) -> None:
    # Thirteen steps end in the middle of an epoch.
    tree = pretraining(place, word_teacher, steps=13, eval_every=6)
    whole = steps.train(run_of(tree, tmp_path / "whole"))
    first = run_of(tree, tmp_path / "half")

    class StopError(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise StopError

    with pytest.MonkeyPatch.context() as patch:
        # Stands for a power cut after the last checkpoint: nothing after training is done.
        patch.setattr(IntentTrainer, "keep_average", stop)
        with pytest.raises(StopError):
            steps.train(first)
    if not at_the_end:
        (tmp_path / "half" / "checkpoints" / "checkpoint-13" / "whole").unlink()
    resumed = steps.train(run_of(tree, tmp_path / "half", resume=True))
    assert resumed["distance"] == pytest.approx(whole["distance"], abs=1e-6)
    steps_of = [
        [row["step"] for row in figures["log"] if "train_runtime" not in row]
        for figures in (resumed, whole)
    ]
    assert steps_of[0] == steps_of[1]
    assert not (tmp_path / "half" / "checkpoints" / "checkpoint-14").exists()
    one, other = (
        safetensors.torch.load_file(tmp_path / name / "model.safetensors")
        for name in ("whole", "half")
    )
    assert all(torch.equal(one[name], other[name]) for name in one if "classifier" not in name)


def test_a_pretraining_that_was_killed_goes_on_to_the_same_weights(
    place: Path, word_teacher: Path, tmp_path: Path
) -> None:
    tree = pretraining(place, word_teacher, steps=40, eval_every=5)
    whole = steps.train(run_of(tree, tmp_path / "whole"))
    recipe = write_recipe(tmp_path / "encoder.toml", tree)
    output = tmp_path / "killed"
    running = Forked("train", recipe, "--output", output)
    end = time.monotonic() + 200
    while not list(output.glob("checkpoints/*/whole")) and time.monotonic() < end:
        time.sleep(0.02)
    running.kill()
    assert running.wait(10).returncode == -signal.SIGKILL
    assert not (output / "metrics.json").exists()
    assert run_forked("train", recipe, "--output", output, "--resume").returncode == 0
    one, other = (
        safetensors.torch.load_file(folder / "model.safetensors")
        for folder in (tmp_path / "whole", output)
    )
    assert all(torch.equal(one[name], other[name]) for name in one if "classifier" not in name)
    assert whole["windows"] > 0


def test_a_missing_teacher_is_a_sentence(place: Path, tmp_path: Path) -> None:
    tree = pretraining(place, tmp_path / "nothing.onnx", steps=1)
    with pytest.raises(UserError, match="neither 'efficientword-net' nor an ONNX file"):
        steps.train(run_of(tree, tmp_path / "encoder"))
    (tmp_path / "nothing.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        steps.train(run_of(tree, tmp_path / "encoder", force=True))


def test_its_recipe_has_no_orders_and_nothing_that_is_tested_on() -> None:
    recipe = load_recipe("pretrain")
    assert recipe.distil is not None
    assert recipe.distil.teacher == "efficientword-net"
    judges = ("orders", "own_words", "calibration")
    assert not any(name in section.path for section in recipe.data for name in judges)
    assert "kitchen.flac" in recipe.augment.noise_exclude
