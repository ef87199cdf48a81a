"""Freezing, learning rates by layer, and averaged weights in a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from support.train_helpers import recipe_tree, tiny_base, write_words

from train.data.clips import labels_of, load_clips
from train.recipe import Recipe
from train.training.finetune import train_model
from train.training.initial_model import build_model
from train.training.optimizer import depth_of
from train.training.trainer import IntentTrainer, Keeper

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("optimizer")
    write_words(folder / "words", ("rise", "fall", "flat"), 6)
    tiny_base(folder / "base")
    return folder


def trained(place: Path, output: Path, **train: Any) -> tuple[IntentTrainer, Weights]:
    """The trainer after some steps, and the weights it began with."""
    settings = {"steps": 3, "batch_size": 4, "eval_every": 3, "warmup": 0.0} | train
    recipe = Recipe.model_validate(recipe_tree(place / "words", place / "base", **settings))
    loaded = load_clips(recipe)
    labels = labels_of(recipe, loaded.clips)
    torch.manual_seed(recipe.train.seed)
    before, _ = build_model(recipe, labels)
    console = Console(file=io.StringIO())
    return train_model(recipe, loaded, labels, [], output, False, console), before.state_dict()


def changed(trainer: IntentTrainer, before: Weights) -> dict[str, bool]:
    """Of each parameter that lies under the head: whether training moved it."""
    return {
        name: not torch.equal(value, before[name])
        for name, value in trainer.model.named_parameters()
        if not name.startswith(("classifier", "projector", "wav2vec2.masked_spec_embed"))
    }


def test_depth_counts_from_the_head_down() -> None:
    names = {
        "classifier.weight": 0,
        "projector.bias": 0,
        "vector_head.0.weight": 0,
        "wav2vec2.encoder.layers.11.attention.k_proj.weight": 1,
        "wav2vec2.encoder.layers.0.final_layer_norm.bias": 12,
        "audio_spectrogram_transformer.encoder.layer.0.output.dense.weight": 12,
        "wav2vec2.feature_projection.projection.weight": 13,
        "wav2vec2.feature_extractor.conv_layers.0.conv.weight": 13,
    }
    assert {name: depth_of(name, 12) for name in names} == names


def test_every_layer_learns_at_its_own_rate(place: Path, tmp_path: Path) -> None:
    trainer, _ = trained(place, tmp_path, layer_decay=0.5, learning_rate=8e-3, weight_decay=0.1)
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    rates: dict[str, float] = {}
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            rates[names[parameter]] = group["initial_lr"]
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
    assert rates["classifier.weight"] == pytest.approx(8e-3)
    assert rates["wav2vec2.encoder.layers.0.attention.k_proj.weight"] == pytest.approx(4e-3)
    assert rates["wav2vec2.feature_extractor.conv_layers.0.conv.weight"] == pytest.approx(2e-3)
    assert len(rates) == sum(p.requires_grad for p in trainer.model.parameters())


def test_without_freezing_all_of_the_encoder_moves(place: Path, tmp_path: Path) -> None:
    assert all(changed(*trained(place, tmp_path)).values())


def test_a_frozen_feature_encoder_stays_as_it_is(place: Path, tmp_path: Path) -> None:
    moved = changed(*trained(place, tmp_path, freeze_features=True))
    assert {name for name, value in moved.items() if not value} == {
        name for name in moved if ".feature_extractor." in name
    }


@pytest.mark.parametrize(("steps", "moves"), [(3, False), (2, True)])
def test_at_first_only_the_head_learns(
    place: Path, tmp_path: Path, steps: int, moves: bool
) -> None:
    trainer, before = trained(
        place,
        tmp_path,
        freeze_encoder_steps=steps,
        weight_decay=0.1,
        schedule="constant_with_warmup",
    )
    assert set(changed(trainer, before).values()) == {moves}
    head = trainer.model.classifier.weight
    assert not torch.equal(head, before["classifier.weight"])


def test_the_average_is_what_is_kept_and_evaluated(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw: list[Weights] = []
    original = Keeper.on_step_end

    def spying(self: Keeper, *rest: Any, **others: Any) -> None:
        raw.append({k: v.clone() for k, v in self.trainer.model.named_parameters()})
        original(self, *rest, **others)

    monkeypatch.setattr(Keeper, "on_step_end", spying)
    trainer, _ = trained(place, tmp_path, average=0.75, steps=4, eval_every=4)
    assert len(raw) == 4
    for name, value in trainer.model.named_parameters():
        expected = raw[0][name]
        for step in raw[1:]:
            expected = 0.75 * expected + 0.25 * step[name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(trainer.model.classifier.weight, raw[-1]["classifier.weight"])
    during = [row for row in trainer.state.log_history if "eval_loss" in row][-1]["eval_loss"]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(during, rel=1e-6)
