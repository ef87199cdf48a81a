"""Pretraining by a teacher: from recordings alone to an encoder.

Others are finetuned from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
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

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.base.text_files import write_text
from train.codecs import CodedRecordings
from train.data.clips import Clip, Loaded
from train.distillation.windows import TeacherWindows, teacher_windows
from train.distillation.word_student import WordStudent, cosine_distance
from train.distributed import without_accelerator
from train.examples.babble import babble_of
from train.examples.word_windows import WindowBatches, first_item
from train.recipe import Recipe
from train.training.checkpoints import checked_checkpoint, save_whole, seconds_of
from train.training.fast_convolution import quicken
from train.training.finetune import bf16, fit, noises_of
from train.training.initial_model import build_model
from train.training.progress import RichProgress
from train.training.trainer import (
    IntentTrainer,
    is_last,
    keeper_of,
)

VALIDATION_BATCHES = 15


def pretrain(
    recipe: Recipe, loaded: Loaded, output: Path, resume: bool, console: Console
) -> dict[str, Any]:
    """Train the encoder, save it to `output` and return the run's figures.

    Raises:
        UserError: the teacher is missing, or the student is no Wav2Vec2.
        StoppedError: SIGINT or SIGTERM came.
    """
    assert recipe.distil is not None
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    clips = [clip for clip in loaded.clips if clip.part != "test"]
    windows = teacher_windows(clips, recipe.distil, torch.get_num_threads(), console)
    set_seed(recipe.train.seed)
    model, extractor = build_model(recipe, ("speech", "other"))
    if not isinstance(model, Wav2Vec2ForSequenceClassification):
        raise UserError("Only a Wav2Vec2 can be pretrained; set model.base to one, or to 'small'.")
    student = WordStudent(model.wav2vec2, windows.vectors.shape[1])
    trainer = _trainer(recipe, student, extractor, clips, windows, output)
    trainer.add_callback(RichProgress(console))
    checkpoint = None
    if resume:
        checkpoint = checked_checkpoint(
            output / "checkpoints", lambda text: console.print(text, highlight=False)
        )
    keeper = keeper_of(trainer)
    if checkpoint is not None and is_last(checkpoint):
        trainer.take(checkpoint)
        keeper.before = seconds_of(checkpoint)
    else:
        fit(trainer, checkpoint, output)
    if trainer.is_world_process_zero():
        # Under the classes and names that finetuning reads; it initialises the head again.
        model.wav2vec2 = student.wav2vec2

        def save(folder: str) -> None:
            model.save_pretrained(folder)
            extractor.save_pretrained(folder)

        save_whole(save, output)
    distance = trainer.evaluate()["eval_loss"]
    return {
        "distance": distance,
        "seconds": keeper.seconds,
        "hours": sum(len(c.samples) for c in clips if c.part == "train") / RATE / 3600,
        "windows": len(windows.of(_numbers(clips, "train")).rows),
        "log": trainer.state.log_history,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _numbers(clips: Sequence[Clip], part: str) -> list[int]:
    return [number for number, clip in enumerate(clips) if clip.part == part]


def _batches(
    recipe: Recipe, clips: Sequence[Clip], windows: TeacherWindows, extractor: Any
) -> tuple[WindowBatches, WindowBatches]:
    """To train on and to validate on."""
    assert recipe.distil is not None
    settings, noises = recipe.train, noises_of(recipe)
    lengths = [round(seconds * RATE) for seconds in recipe.distil.lengths]
    talkers = babble_of(clips, recipe.augment, settings.seed)
    recordings = [clip.samples for clip in clips]
    sets = []
    for part, share in (("train", recipe.augment.codec_probability), ("validation", 0.0)):
        some = windows.of(_numbers(clips, part))
        if not len(some.rows):
            raise UserError(f"The split leaves no recording for {part}; add data.")
        weights = np.array([recipe.data[clips[n].source].weight for n in some.recordings])
        held = part == "validation"
        sets.append(
            WindowBatches(
                CodedRecordings(recordings, share, settings.seed),
                some,
                weights,
                recipe.augment,
                noises,
                talkers,
                extractor,
                lengths,
                settings.batch_size,
                VALIDATION_BATCHES if held else max(1, len(some.rows) // settings.batch_size),
                settings.seed + held,
                fixed=held,
            )
        )
    return sets[0], sets[1]


def _trainer(
    recipe: Recipe,
    student: WordStudent,
    extractor: Any,
    clips: Sequence[Clip],
    windows: TeacherWindows,
    output: Path,
) -> IntentTrainer:
    settings = recipe.train
    draws, held = _batches(recipe, clips, windows, extractor)
    steps = settings.steps or max(1, int(settings.epochs * len(draws)))
    every = settings.eval_every or max(1, steps // 10)
    arguments = TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=steps,
        # An item of the data set is a whole batch.
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=10,
        seed=settings.seed,
        bf16=bf16(settings.precision, amx=True),
        use_cpu=without_accelerator(),
        dataloader_num_workers=0,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
    )
    trainer = IntentTrainer(
        model=student,
        args=arguments,
        train_dataset=draws,
        eval_dataset=held,
        data_collator=first_item,
        average=settings.average,
        loss=cosine_distance,
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.args.device.type == "cpu":
        quicken(student)
    return trainer


def card(recipe: Recipe, figures: dict[str, Any], versions: dict[str, str], command: str) -> str:
    """The model card of a pretrained encoder."""
    assert recipe.distil is not None
    data = "\n".join(f"- {s.attribution}" for s in recipe.data if s.attribution)
    return f"""---
license: {recipe.model.license}
library_name: transformers
tags: [wav2vec2, distillation]
---

# {recipe.description or recipe.name}

An encoder without a head, to finetune from; it recognises nothing by itself. Its mean frame lies
near another's where the same word is said in another voice. It learned to give the vectors of
EfficientWord-Net's ResNet-50 (Ant-Brain, Apache-2.0; trained on the Multilingual Spoken Words
Corpus, MLCommons, CC BY 4.0) for {figures["windows"]:,} windows of {figures["hours"]:.1f} hours of
recordings, without reading a label. Cosine to the teacher's vectors of clean windows, on validation
windows of which every other one is clean and the rest as in training:
{1 - figures["distance"]:.3f}.

## Data

{data or "Not named in the recipe."}

## How it was made

    {command}

seed {recipe.train.seed}, {figures["seconds"] / 60:.0f} minutes, {figures["date"]};
{", ".join(f"{name} {number}" for name, number in versions.items())}.
"""


def write(output: Path, recipe: Recipe, figures: dict[str, Any], text: str) -> None:
    """Write metrics.json, which marks the run as finished, and the model card."""
    write_text(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
    write_text(output / "README.md", text)
