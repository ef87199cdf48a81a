"""Output folder of a run: which run owns it, when it may be written to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError, os_reason
from daemon.base.text_files import read_text, write_text
from train.recipe import Recipe

FINISHED = "metrics.json"
"""A folder that has it holds a finished model; only pictures and model card come later."""
RECIPE = "recipe.json"
PROBLEMS = "problems.jsonl"
SPLIT = "split.jsonl"
BEFORE = {RECIPE, PROBLEMS, SPLIT}
"""Files that a run writes before it trains."""


def check_output(output: Path, recipe: Recipe, resume: bool, force: bool) -> str:
    """Refuse an output folder that holds a model or another run.

    Changes nothing. Returns a note for the user, or "".

    Raises:
        UserError: it does.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; give a folder with --output.")
    try:
        there = {path.name for path in output.iterdir()} if output.is_dir() else set()
    except OSError as error:
        raise UserError(f"{output} cannot be read ({os_reason(error)}).") from error
    if force:
        if there - BEFORE and RECIPE not in there:
            raise UserError(f"{output} was not made by intentd-train and is left alone.")
        return ""
    if is_finished(output):
        raise UserError(
            f"{output} holds a finished model; --force trains it again, --output names another "
            "folder."
        )
    if not there - BEFORE:  # ended before any training; nothing is lost
        return ""
    if RECIPE not in there:
        raise UserError(f"{output} is not empty; give another folder with --output.")
    if not resume:
        raise UserError(
            f"{output} holds an unfinished run; --resume goes on with it, --force starts again."
        )
    before = read_object(output / RECIPE)
    if before is None:
        return (
            f"{output / RECIPE} is damaged, so that it can't be compared with the recipe; the run "
            "goes on by the recipe that was given"
        )
    changed = _differences(before, json.loads(recipe.model_dump_json(exclude={"root"})))
    if changed:
        raise UserError(
            f"The run in {output} has another recipe: {', '.join(changed[:3])}"
            f"{' and more' if len(changed) > 3 else ''}. --resume needs the same."
        )
    return ""


def is_finished(output: Path) -> bool:
    """Whether the folder holds a finished model with readable figures."""
    return read_object(output / FINISHED) is not None


def read_object(path: Path) -> dict[str, Any] | None:
    """JSON object in a file of a run; None if missing, cut short or damaged."""
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
    """The keys whose values differ, a phrase each."""
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
    """Make the output folder a run's.

    With `force` what is in it is removed first, now that the data is known to be right.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        if force and output.is_dir():
            shutil.rmtree(output)
        output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(json.loads(recipe.model_dump_json()), indent=2)
        write_text(output / RECIPE, text + "\n")
    except OSError as error:
        raise UserError(f"{output} cannot be written to ({os_reason(error)}).") from error
