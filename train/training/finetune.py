"""Finetuning with transformers' Trainer, from recipe and clips to weights."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import (
    PrinterCallback,
    TrainingArguments,
    Wav2Vec2ForSequenceClassification,
    set_seed,
)

from daemon.base.errors import UserError
from daemon.base.resources import disk_full, out_of_memory
from train import metrics
from train.augment import Audio
from train.data.clips import Clip, Loaded
from train.data.noises import load_noises
from train.distillation.soft_labels import (
    DistillationLoss,
    add_vector_head,
    remove_vector_head,
    soft_targets,
    width_in,
)
from train.distillation.soft_targets import SoftTargets
from train.distributed import main_process, without_accelerator
from train.examples.utterances import BagCollator, BagLoss, UtteranceBags
from train.examples.words import FixedWindows, WindowCollator, WordDraws, shares
from train.recipe import WORLD, Recipe
from train.simulation.conditions import settings_of_recipe
from train.training.checkpoints import (
    checked_checkpoint,
    discard_unsealed,
    last_checkpoint,
    seconds_of,
)
from train.training.fast_convolution import quicken
from train.training.initial_model import build_model
from train.training.optimizer import FreezeAtFirst, layerwise_optimizer
from train.training.progress import RichProgress
from train.training.trainer import IntentTrainer, is_last, keeper_of


class StoppedError(Exception):
    """Training ended by a signal after saving; `number` is the signal's."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.number = number
        self.step = step


def noises_of(recipe: Recipe) -> list[Audio]:
    """The recordings of `augment.noise`, or the shipped ones, or none.

    Those that ship are taken where the recipe trains on what ships.
    """
    if recipe.augment.noise is None:
        if not any(section.path == WORLD for section in recipe.data):
            return []
        from train import world

        pack = world.recordings()
        return [
            each.audio for each in pack if each.kind == world.NOISE and each.part == world.TRAIN
        ]
    return load_noises(recipe.path(recipe.augment.noise), recipe.augment.noise_exclude)


def train_model(
    recipe: Recipe,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    output: Path,
    resume: bool,
    console: Console,
) -> IntentTrainer:
    """Train and return the trainer, whose model holds the final weights.

    Checkpoints go to `output`/checkpoints. Raises StoppedError after SIGINT or SIGTERM.
    """
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    set_seed(recipe.train.seed)
    model, extractor = build_model(recipe, labels)
    checkpoint = None
    if resume:
        checkpoint = checked_checkpoint(
            output / "checkpoints", lambda text: console.print(text, highlight=False)
        )
    finished = checkpoint is not None and is_last(checkpoint)
    if recipe.teach is not None and not isinstance(model, Wav2Vec2ForSequenceClassification):
        raise UserError("[teach] needs a Wav2Vec2 as model.base.")
    targets, width = None, 0
    if recipe.teach is not None:
        if checkpoint is not None and finished:  # needs no teacher
            width = width_in(checkpoint)
        else:
            train = loaded.part("train")
            share = shares(train, labels, recipe.model.non_intents, _weights(recipe))
            targets = soft_targets(recipe, train, labels, share, console)
            width = targets.width
    trainer = _trainer(recipe, model, extractor, loaded, labels, noises, output, targets, width)
    if trainer.args.device.type == "cpu":
        quicken(model)
    trainer.add_callback(RichProgress(console))
    if checkpoint is not None and finished:
        trainer.take(checkpoint)
        remove_vector_head(trainer.model)
        keeper_of(trainer).before = seconds_of(checkpoint)
        return trainer
    fit(trainer, checkpoint, output)
    remove_vector_head(trainer.model)
    return trainer


def fit(trainer: IntentTrainer, checkpoint: Path | None, output: Path) -> None:
    """Train to the end, from the beginning or from a checkpoint.

    Checkpoints are in `output`/checkpoints.

    Raises:
        StoppedError: SIGINT or SIGTERM came; what was learned is saved.
        UserError: the system refused disk space or memory; earlier checkpoints stay.
    """
    keeper = keeper_of(trainer)
    try:
        with keeper.catching_signals():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Exception as error:
        full = disk_full(error)
        if not full and not isinstance(error, OSError) and not out_of_memory(error):
            raise
        if main_process():
            discard_unsealed(output / "checkpoints")
        last = last_checkpoint(output / "checkpoints")
        then = "starts again" if last is None else f"goes on from {last.name}"
        if full:
            raise UserError(
                f"No space is left on the disk of {output}; make room, then --resume {then}.",
                status=1,
            ) from error
        if isinstance(error, OSError) and not out_of_memory(error):
            raise UserError(
                f"Training could not save ({error}); then --resume {then}.", status=1
            ) from error
        raise UserError(
            "The system has no memory left for training; close other programs, then --resume "
            f"{then}; or train again with a train.batch_size below "
            f"{trainer.args.per_device_train_batch_size}.",
            status=1,
        ) from error
    if keeper.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise StoppedError(keeper.signal, trainer.state.global_step)
    trainer.keep_average()


def _trainer(
    recipe: Recipe,
    model: Any,
    extractor: Any,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    output: Path,
    targets: SoftTargets | None,
    width: int,
) -> IntentTrainer:
    """`width` of the teacher's vectors."""
    draws, evaluation = datasets_of(recipe, loaded, labels, noises, targets)
    settings = recipe.train
    world = int(_environment("WORLD_SIZE", "1"))
    batches = -(-len(draws) // (settings.batch_size * world))
    per_epoch = max(1, -(-batches // settings.gradient_accumulation))
    every = settings.eval_every or per_epoch
    total = settings.steps or int(np.ceil(settings.epochs * per_epoch))
    arguments = TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=total,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing if recipe.model.unit == "word" else 0.0,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=3,
        load_best_model_at_end=not settings.average,
        metric_for_best_model="accuracy",
        logging_steps=10,
        seed=settings.seed,
        bf16=bf16(settings.precision),
        use_cpu=without_accelerator(),
        dataloader_num_workers=0,
        disable_tqdm=True,
        report_to="none",
        # Bags are collated by hand, and their windows are no columns of a data set.
        remove_unused_columns=False,
        label_names=["labels"],
    )
    loss: Callable[..., Any] | None = None
    collator: Any = WindowCollator(extractor)
    if recipe.model.unit == "utterance":
        collator = BagCollator(extractor)
        loss = BagLoss(
            collator.input_name,
            recipe.model.hop / recipe.model.window,
            recipe.rolling.forgetting,
            settings.label_smoothing,
        )
    elif recipe.teach is not None:
        loss = DistillationLoss(
            collator.input_name,
            recipe.teach.weight,
            recipe.teach.temperature,
            recipe.teach.cosine,
            settings.label_smoothing,
        )
        add_vector_head(model, width)
    trainer = IntentTrainer(
        model=model,
        args=arguments,
        train_dataset=draws,
        eval_dataset=evaluation,
        processing_class=extractor,
        data_collator=collator,
        compute_metrics=_compute,
        average=settings.average,
        loss=loss,
    )
    trainer.remove_callback(PrinterCallback)
    if settings.freeze_features and hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    if settings.layer_decay < 1:
        trainer.create_optimizer = functools.partial(
            layerwise_optimizer, trainer, settings.layer_decay
        )
    if settings.freeze_encoder_steps:
        trainer.add_callback(FreezeAtFirst(model, settings.freeze_encoder_steps))
    return trainer


def datasets_of(
    recipe: Recipe,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    targets: SoftTargets | None = None,
) -> tuple[Any, Any]:
    """Data sets to draw from in training and to evaluate on meanwhile.

    Raises UserError if the gate finds no speech in what is trained on.
    """
    train, validation = loaded.part("train"), loaded.part("validation")
    settings = settings_of_recipe(recipe, labels)
    if recipe.model.unit == "word":
        draws = WordDraws(
            train,
            labels,
            recipe.model.non_intents,
            _weights(recipe),
            recipe.augment,
            noises,
            settings.window_samples,
            len(train),
            recipe.train.seed,
            targets,
        )
        return draws, FixedWindows(words_of(validation), labels, settings.window_samples)
    first = recipe.model.windows == "first"
    bags = UtteranceBags(
        train,
        labels,
        settings,
        draw=recipe.augment,
        noises=noises,
        limit=recipe.train.bag_windows,
        first=first,
        seed=recipe.train.seed,
    )
    held = UtteranceBags(validation, labels, settings, draw=None, first=first)
    if not len(bags) or not len(held):
        raise UserError("The gate finds no speech in the recordings; is gate.kind right for them?")
    return bags, held


def _weights(recipe: Recipe) -> tuple[float, ...]:
    return tuple(section.weight for section in recipe.data)


def words_of(clips: list[Clip]) -> list[Clip]:
    """The clips that are single words; all of them if none is."""
    return [clip for clip in clips if clip.placing == "word"] or clips


def _compute(prediction: Any) -> dict[str, float]:
    return metrics.compute(np.asarray(prediction.predictions), np.asarray(prediction.label_ids))


def bf16(precision: str, amx: bool = False) -> bool:
    """Whether to compute in bfloat16.

    `amx`: "auto" means so on a processor with AMX too.
    """
    if precision == "auto":
        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported())
        return amx and bool(torch.cpu._is_amx_tile_supported())
    return precision == "bf16"


def _environment(name: str, default: str) -> str:
    return os.environ.get(name, default)
