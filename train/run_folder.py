"""The output folder of a run: whose it is, and when it may be written to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from train.recipe import Recipe

FINISHED = "metrics.json"
"""Written last: where it lies, a model is finished."""
RECIPE = "recipe.json"
PROBLEMS = "problems.jsonl"
SPLIT = "split.jsonl"
BEFORE = {RECIPE, PROBLEMS, SPLIT}
"""What a run writes before it trains."""


def check_output(output: Path, recipe: Recipe, resume: bool, force: bool) -> None:
    """Raises UserError if the output folder holds a model or another run; changes nothing."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; give a folder with --output.")
    there = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if force:
        if there - BEFORE and RECIPE not in there:
            raise UserError(f"{output} was not made by intentd-train and is left alone.")
        return
    if FINISHED in there:
        raise UserError(
            f"{output} holds a finished model; --force trains it anew, --output names another "
            "folder."
        )
    if not there - BEFORE:  # ended before any training; nothing is lost
        return
    if RECIPE not in there:
        raise UserError(f"{output} is not empty; give another folder with --output.")
    if not resume:
        raise UserError(
            f"{output} holds an unfinished run; --resume goes on with it, --force begins anew."
        )
    before = json.loads((output / RECIPE).read_text(encoding="utf-8"))
    changed = _differences(before, json.loads(recipe.model_dump_json(exclude={"root"})))
    if changed:
        raise UserError(
            f"The run in {output} has another recipe: {', '.join(changed[:3])}"
            f"{' and more' if len(changed) > 3 else ''}. --resume needs the same."
        )


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
    """What is not as it was, a phrase each."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            phrase
            for name in now
            for phrase in _differences(
                before.get(name), now[name], f"{key}.{name}" if key else name
            )
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [p for number, (b, n) in pairs for p in _differences(b, n, f"{key}.{number}")]
    return [] if before == now else [f"{key} was {json.dumps(before)} and is {json.dumps(now)}"]


def begin(output: Path, recipe: Recipe, force: bool) -> None:
    """Make the output folder a run's. What `force` gives up is removed here, when the data is known
    to be right. Raises UserError if it cannot be written to."""
    try:
        if force and output.is_dir():
            shutil.rmtree(output)
        output.mkdir(parents=True, exist_ok=True)
        (output / RECIPE).write_text(
            json.dumps(json.loads(recipe.model_dump_json()), indent=2) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise UserError(f"{output} cannot be written to ({error.strerror or error}).") from error
