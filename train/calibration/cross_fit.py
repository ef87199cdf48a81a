"""Cross-fitting: calibration on the recordings that a model is trained on.

A model's scores of recordings that it was trained on say nothing of its scores of others. So each
is scored by a model that was trained in the same way without it (Stone 1974; the name is
Chernozhukov et al.'s, 2018).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from daemon.base.errors import UserError
from daemon.base.text_files import write_text
from train.augment import Audio
from train.data.clips import Clip, Loaded
from train.data.split import bucket
from train.distributed import main_process, wait_for_all
from train.recipe import Recipe
from train.training.checkpoints import save_whole
from train.training.finetune import train_model

FOLDER = "cross-fit"
WEIGHTS = "model.safetensors"
STAMP = "stamp"
"""A file beside the weights that says what they were trained by and on."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the training clips, and the model trained without them."""

    model: Path
    clips: tuple[Clip, ...]


def cross_fit(
    recipe: Recipe,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    output: Path,
    console: Console,
    keep: bool = False,
) -> Iterator[Part]:
    """Train a model for each part of the training clips, without that part.

    There are `calibrate.cross_fit` parts, speakers kept together; each model learns from the other
    parts for as many epochs as the recipe's own. Sources without a held-out part are trained on
    every time. Validation and test parts are never trained on.

    Models that are there already are taken if they were trained by this recipe without these very
    recordings, and are trained again otherwise; training goes on where it was stopped.

    Raises:
        StoppedError: as `train_model` does.
        UserError: with `keep`, instead of training one again that is there.
    """
    parts = recipe.calibrate.cross_fit
    steps = recipe.train.steps * (parts - 1) // parts
    shorter = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
    for number in range(parts):
        out = tuple(clip for clip in loaded.part("train") if _left_out(clip, recipe, number))
        folder = output / FOLDER / str(number)
        stamp = _stamp(shorter, loaded, out)
        made = _made_by(folder, stamp)
        wait_for_all()  # before any of them changes what the others look at
        if not made:
            if keep and (folder / WEIGHTS).is_file():
                raise UserError(
                    f"{folder} was trained by another recipe or on other recordings; give the "
                    "options that it was trained with, or remove it."
                )
            if main_process():
                _begin(folder, stamp)
            wait_for_all()  # before any looks for checkpoints there
            console.print(f"cross-fitting, part {number + 1} of {parts}", highlight=False)
            mine = {id(clip) for clip in out}
            rest = replace(loaded, clips=tuple(c for c in loaded.clips if id(c) not in mine))
            trainer = train_model(shorter, rest, labels, noises, folder, True, console)
            save_whole(trainer.save_model, folder)
        yield Part(folder, out)


def _stamp(recipe: Recipe, loaded: Loaded, out: tuple[Clip, ...]) -> str:
    """All that a part's model depends on, as a digest."""
    own = recipe.model_dump_json(
        exclude_defaults=True,
        exclude={
            "root": True,
            "description": True,
            "calibrate": True,
            "evaluate": True,
            "train": {"threads"},
        },
    )
    mine = {id(clip) for clip in out}
    clips = sorted(
        f"{clip.source}/{clip.key}/{len(clip.samples)}/{clip.part}/{id(clip) in mine}"
        for clip in loaded.clips
    )
    return hashlib.sha256("\n".join([own, *clips]).encode()).hexdigest()


def _made_by(folder: Path, stamp: str) -> bool:
    return (folder / WEIGHTS).is_file() and _stamp_of(folder) == stamp


def _stamp_of(folder: Path) -> str:
    file = folder / STAMP
    return file.read_text(encoding="ascii") if file.is_file() else ""


def _begin(folder: Path, stamp: str) -> None:
    """Remove another recipe's model and checkpoints, and begin a part."""
    if folder.is_dir() and _stamp_of(folder) != stamp:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / STAMP, stamp)


def _left_out(clip: Clip, recipe: Recipe, number: int) -> bool:
    parts = recipe.calibrate.cross_fit
    return recipe.data[clip.source].holdout and bucket(f"cross-fit/{clip.key}", parts) == number
