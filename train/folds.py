"""Cross-validation: one training for each bucket of the split, tested on that bucket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from train import metrics
from train import run as steps
from train.run import Run


def cross_validate(run: Run) -> dict[str, Any]:
    """Train `split.buckets` models, each in a folder fold-N of the output; pool their test parts.

    Folds that are finished are not trained again with `resume`. Writes and returns folds.json.
    """
    recipe = run.recipe
    rows: list[dict[str, Any]] = []
    for fold in range(recipe.split.buckets):
        output = run.output / f"fold-{fold}"
        done = output / steps.FINISHED
        if not (done.is_file() and run.resume):
            split = recipe.split.model_copy(update={"fold": fold})
            one = replace(run, recipe=recipe.model_copy(update={"split": split}), output=output)
            one = replace(one, resume=run.resume and (output / steps.RECIPE).is_file())
            run.console.print(f"fold {fold + 1} of {recipe.split.buckets}", style="bold")
            steps.train(one)
        if steps.main_process():
            rows.append(json.loads(done.read_text(encoding="utf-8")))
    if not rows:
        return {}
    found = pooled(rows)
    (run.output / "folds.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    low, high = found["accuracy_interval"]
    print(
        f"{recipe.name}, {len(rows)} folds: {found['accuracy']:.1%} of {found['n']} recordings "
        f"right (95 %: {low:.1%} to {high:.1%}); by fold "
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
