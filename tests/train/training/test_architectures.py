"""Every architecture of the guide is finetuned by name, and runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from support.model_checkpoints import KINDS, save
from support.train_helpers import RATE, recipe_tree, word, write_words

from daemon.model.classifier import load_classifier
from daemon.model.description.resolve import bundled_model
from train.data.clips import labels_of, load_clips
from train.recipe import Recipe
from train.training.finetune import train_model
from train.training.initial_model import build_model


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architectures") / "words"
    return write_words(folder, ("rise", "fall", "flat"), 6)


def test_a_recipe_that_names_no_base_begins_with_the_bundled_encoder(words: Path) -> None:
    tree = recipe_tree(words, words)
    del tree["model"]["base"]
    recipe = Recipe.model_validate(tree)
    model, _ = build_model(recipe, ("rise", "fall", "flat"))
    bundled = load_file(bundled_model() / "model.safetensors")
    own = {name: value for name, value in model.state_dict().items() if "wav2vec2" in name}
    assert len(own) > 40
    assert all(torch.equal(value, bundled[name]) for name, value in own.items())


@pytest.mark.parametrize(
    ("kind", "unit"),
    [*((kind, "word") for kind in KINDS), ("audio-spectrogram-transformer", "utterance")],
)
def test_it_is_trained_and_says_the_same_in_the_daemon(
    kind: str, unit: str, words: Path, tmp_path: Path
) -> None:
    base = save(tmp_path / "base", kind)
    tree = recipe_tree(words, base, steps=1, batch_size=2, eval_every=1, warmup=0.0)
    tree["model"]["unit"] = unit
    recipe = Recipe.model_validate(tree)
    loaded = load_clips(recipe)
    labels = labels_of(recipe, loaded.clips)
    quiet = Console(file=io.StringIO())
    trainer = train_model(recipe, loaded, labels, [], tmp_path / "out", False, quiet)
    trainer.save_model(str(tmp_path / "model"))
    averages = (trainer.optimizer.state[p].get("exp_avg") for p in trainer.model.parameters())
    names = (name.split(".")[0] for name, _ in trainer.model.named_parameters())
    moved = {n for n, a in zip(names, averages, strict=True) if a is not None and a.abs().sum()}
    assert "classifier" in moved
    assert moved - {"classifier", "projector"}, "the encoder learns too"

    windows = [word(label, 1) for label in ("rise", "fall")]
    features = trainer.processing_class(windows, sampling_rate=RATE, return_tensors="pt")
    name = trainer.processing_class.model_input_names[0]
    with torch.inference_mode():
        logits = trainer.model.eval()(**{name: features[name]}).logits
    daemon = load_classifier(tmp_path / "model", backend="torch", window_seconds=1.0, threads=1)
    assert daemon.labels == labels
    np.testing.assert_allclose(daemon.logits(windows), logits.numpy(), atol=1e-3)
