"""Finetuning with transformers' Trainer: from a recipe to a model directory that intentd runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    Wav2Vec2ForSequenceClassification,
    set_seed,
)

from daemon.errors import UserError
from train import metrics
from train.data import RATE, Clip, labels_of, load_clips, load_noises
from train.dataset import FixedWindows, WordDraws
from train.encoder import small_config, small_extractor, start_as_filterbank
from train.recipe import Recipe


def build_model(recipe: Recipe, labels: tuple[str, ...]) -> tuple[Any, Any]:
    """The model to finetune and its feature extractor.

    Raises UserError if the base cannot be loaded.
    """
    names = {
        "num_labels": len(labels),
        "label2id": {label: number for number, label in enumerate(labels)},
        "id2label": dict(enumerate(labels)),
    }
    if recipe.model.base == "small":
        model = Wav2Vec2ForSequenceClassification(small_config(**names, **_masking(recipe)))
        start_as_filterbank(model)
        return model, small_extractor()
    try:
        extractor = AutoFeatureExtractor.from_pretrained(recipe.model.base)
        config = AutoConfig.from_pretrained(recipe.model.base, **names)
        for key, value in _masking(recipe).items():
            if hasattr(config, key):
                setattr(config, key, value)
        model = AutoModelForAudioClassification.from_pretrained(
            recipe.model.base, config=config, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"The base model {recipe.model.base!r} could not be loaded "
            f"({str(error).splitlines()[0]}); check its name and the network, or name a directory."
        ) from error
    return model, extractor


def _masking(recipe: Recipe) -> dict[str, Any]:
    a = recipe.augment
    return {
        "mask_time_prob": a.mask_time_prob,
        "mask_time_length": a.mask_time_length,
        "mask_time_min_masks": 0,
        "mask_feature_prob": a.mask_feature_prob,
        "mask_feature_length": a.mask_feature_length,
        "mask_feature_min_masks": 0,
        "apply_spec_augment": a.mask_time_prob > 0 or a.mask_feature_prob > 0,
    }


class Averaging(TrainerCallback):  # type: ignore[misc]
    """Keeps an exponential moving average of the weights, which evaluation and saving use.

    The average is swapped in for each evaluation and out again after the checkpoint is written;
    the raw weights go beside the checkpoint, so that `--resume` goes on from them.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.average.update_parameters(self.model)

    def load_into_model(self) -> None:
        self.model.load_state_dict(self.average.module.state_dict())


def finetune(recipe: Recipe, output: Path, resume: bool = False) -> dict[str, Any]:
    """Train by `recipe` and leave the model in `output`; returns the metrics on validation."""
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    set_seed(recipe.train.seed)
    clips, problems = load_clips(recipe)
    labels = labels_of(recipe, clips)
    parts: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        parts[clip.part].append(clip)
    if not parts["train"] or not parts["validation"]:
        raise UserError("The split leaves no clips to train or to validate on; add data.")
    noises = (
        load_noises(recipe.path(recipe.augment.noise), recipe.augment.noise_exclude)
        if recipe.augment.noise
        else []
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "problems.jsonl").write_text(
        "".join(json.dumps({"path": p.path, "reason": p.reason}) + "\n" for p in problems)
    )
    print(
        f"{len(parts['train'])} clips to train on, {len(parts['validation'])} to validate, "
        f"{len(parts['test'])} to test; {len(problems)} left out (problems.jsonl)"
    )
    model, extractor = build_model(recipe, labels)
    length = round(recipe.model.window * RATE)
    draws = WordDraws(
        parts["train"], labels, recipe.model.non_intents,
        tuple(section.weight for section in recipe.data),
        recipe.augment, noises, length, len(parts["train"]), recipe.train.seed,
    )
    evaluation = FixedWindows(
        [c for c in parts["validation"] if c.placing == "word"] or parts["validation"],
        labels, length,
    )
    trainer = _trainer(recipe, model, extractor, draws, evaluation, output)
    averaging = None
    if recipe.train.average:
        averaging = Averaging(model, recipe.train.average)
        trainer.add_callback(averaging)
    trainer.train(resume_from_checkpoint=resume or None)
    if averaging is not None:
        averaging.load_into_model()
    logits = trainer.predict(evaluation)
    result = _measure(logits.predictions, logits.label_ids, labels, recipe)
    trainer.save_model(str(output))
    (output / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def _measure(
    logits: Any, references: Any, labels: tuple[str, ...], recipe: Recipe
) -> dict[str, Any]:
    intents = [n for n, label in enumerate(labels) if label not in recipe.model.non_intents]
    hits, n = metrics.closed_set_accuracy(np.asarray(logits), np.asarray(references), intents)
    return {
        **metrics.compute(logits, references),
        "n": len(references),
        "closed_set_accuracy": hits / n if n else None,
        "closed_set_n": n,
        "closed_set_interval": metrics.wilson(hits, n),
    }


def _trainer(
    recipe: Recipe, model: Any, extractor: Any, draws: Any, evaluation: Any, output: Path
) -> Trainer:
    settings = recipe.train
    per_epoch = max(1, -(-len(draws) // settings.batch_size) // settings.gradient_accumulation)
    every = settings.eval_every or per_epoch
    arguments = TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=settings.steps or -1,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=not settings.average,
        metric_for_best_model="accuracy",
        logging_steps=10,
        seed=settings.seed,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        dataloader_num_workers=0,
        disable_tqdm=False,
        report_to="none",
    )

    def compute(prediction: Any) -> dict[str, float]:
        return metrics.compute(prediction.predictions, prediction.label_ids)

    return Trainer(
        model=model,
        args=arguments,
        train_dataset=draws,
        eval_dataset=evaluation,
        processing_class=extractor,
        compute_metrics=compute,
    )
