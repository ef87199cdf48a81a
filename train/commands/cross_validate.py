"""Cross-validation: a training for each bucket, tested on that bucket.

The buckets are those of the split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from daemon.base.errors import UserError
from daemon.base.text import screen_text
from daemon.base.text_files import write_text
from train import metrics
from train import pipeline as steps
from train.distributed import main_process
from train.pipeline import Run
from train.run_folder import FINISHED, RECIPE, is_finished, read_object


def cross_validate(run: Run) -> dict[str, Any]:
    """Train `split.buckets` models and pool their test parts.

    Each is in a folder fold-N of the output.

    Folds that are finished are not trained again with `resume`. Writes and returns folds.json.
    """
    recipe = run.recipe
    rows: list[dict[str, Any]] = []
    for fold in range(recipe.split.buckets):
        output = run.output / f"fold-{fold}"
        done = output / FINISHED
        if not (is_finished(output) and run.resume):
            split = recipe.split.model_copy(update={"fold": fold})
            one = replace(run, recipe=recipe.model_copy(update={"split": split}), output=output)
            one = replace(one, resume=run.resume and (output / RECIPE).is_file())
            run.say(f"fold {fold + 1} of {recipe.split.buckets}")
            steps.train(one)
        if main_process():
            rows.append(read_object(done) or {})
    if not rows:
        return {}
    found = pooled(rows)
    write_text(run.output / "folds.json", json.dumps(found, indent=2) + "\n")
    low, high = found["accuracy_interval"]
    print(
        f"{screen_text(recipe.name)}, {len(rows)} folds: {found['accuracy']:.1%} of {found['n']} "
        f"recordings right (95 %: {low:.1%} to {high:.1%}); by fold "
        + ", ".join(f"{value:.1%}" for value in found["by_fold"])
    )
    return found


def pooled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy over all folds' test parts, from their metrics."""
    said = [row["conditions"][0]["utterances"] for row in rows]
    n = sum(row["n"] for row in said)
    hits = sum(round(row["accuracy"] * row["n"]) for row in said if row["n"])
    return {
        "n": n,
        "accuracy": hits / n if n else None,
        "accuracy_interval": metrics.wilson(hits, n),
        "by_fold": [row["accuracy"] for row in said if row["n"]],
    }


def variants(setting: str) -> dict[str, str]:
    """Values of a varied setting, by name.

    "model.windows=first,all" gives {"first": "model.windows=first", "all": "model.windows=all"}.

    Raises:
        UserError: there is nothing to compare, or a value can't name a folder.
    """
    key, _, values = setting.partition("=")
    named = {value.strip(): f"{key}={value.strip()}" for value in values.split(",")}
    if not key or len(named) < 2 or any(not v or Path(v).name != v for v in named):
        raise UserError(
            f"--each {setting!r} is not of the form section.key=VALUE,VALUE with two plain values."
        )
    return named


def compare(runs: Mapping[str, Run], output: Path, console: Console) -> dict[str, Any]:
    """Cross-validate each of `runs` and show one table.

    Writes and returns comparison.json.
    """
    found = {name: cross_validate(run) for name, run in runs.items()}
    if not all(found.values()):
        return {}
    table = Table(title=f"{output.name}, by fold and pooled", title_justify="left")
    table.add_column("")
    for name in ("pooled", "95 %", "right", "N", "by fold"):
        table.add_column(name, justify="right")
    for name, row in found.items():
        low, high = row["accuracy_interval"]
        table.add_row(
            name,
            f"{row['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            str(round(row["accuracy"] * row["n"])),
            str(row["n"]),
            " ".join(f"{value:.1%}" for value in row["by_fold"]),
        )
    write_text(output / "comparison.json", json.dumps(found, indent=2) + "\n")
    console.print(table)
    return found
