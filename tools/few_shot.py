"""Accuracy by clips a word, from a pretrained encoder and random weights.

    python tools/few_shot.py --root DATA --encoder runs/pretrain [--json FILE] [--part validation]

Trains the recipe `seven` on 5, 10, 20, 50 and 200 clips of each word and counts how many clips of
other speakers are recognised (closed set: one window a clip, the most probable of the seven words).
The encoder must be one that saw no label of these words, such as the recipe `pretrain` makes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daemon.windowing import high_passed
from train.augment import Audio
from train.data.clips import Clip, load_clips
from train.environment import quiet
from train.examples.words import middle_window
from train.metrics import wilson
from train.pipeline import evaluation_noise
from train.recipe_files import load_recipe
from train.report.results import confusions
from train.simulation.tracks import with_noise
from train.training.finetune import noises_of, train_model

CLIPS = (5, 10, 20, 50, 200)
LEVELS = (20.0, 10.0)
"""Decibels of a word over the recipe's noise."""
RANDOM = "small"


def heard(
    model: Any,
    extractor: Any,
    clips: list[Clip],
    labels: tuple[str, ...],
    noise: Audio | None = None,
    level: float | None = None,
) -> NDArray[np.int64]:
    """Confusion counts of words, in `noise` at `level` dB.

    Rows: what each word is; columns: what it is taken for.
    """
    model.eval()
    counts = np.zeros((len(labels), len(labels)), np.int64)
    with torch.inference_mode():
        for number, clip in enumerate(clips):
            window = middle_window(clip.audio, 16_000)
            if noise is not None and level is not None:
                window = with_noise(window, noise, level, number)
            features = extractor(high_passed(window), sampling_rate=16_000, return_tensors="pt")
            counts[labels.index(clip.label), int(model(**features).logits.argmax())] += 1
    return counts


def one(base: str, per_label: int, root: str, part: str, settings: list[str]) -> dict[str, Any]:
    """Train once and count."""
    recipe = load_recipe(
        "seven",
        [f"root={root}", f"model.base={base}", f"data.0.per_label={per_label}", *settings],
    )
    loaded = load_clips(recipe)
    labels = recipe.model.labels
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trainer = train_model(
            recipe, loaded, labels, noises_of(recipe), Path(folder), False, Console(quiet=True)
        )
    seconds = time.monotonic() - began
    judged = [clip for clip in loaded.clips if clip.part == part]
    own = trainer.model, trainer.processing_class, judged, labels
    counts = heard(*own)
    noise = evaluation_noise(recipe)
    return {
        "base": "random weights" if base == RANDOM else base,
        "clips_a_word": per_label,
        "part": part,
        **share(counts),
        "minutes": seconds / 60,
        "threads": torch.get_num_threads(),
        "labels": labels,
        "confusion": counts.tolist(),
        "by_label": {
            label: {"n": int(row.sum()), "hits": int(row[number])}
            for number, (label, row) in enumerate(zip(labels, counts, strict=True))
        },
        "noise": {f"{level:g} dB": share(heard(*own, noise, level)) for level in LEVELS},
    }


def share(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Share of right ones, with the 95 % interval."""
    hits, n = int(counts.trace()), int(counts.sum())
    return {"n": n, "hits": hits, "accuracy": hits / n, "interval": wilson(hits, n)}


def said(row: dict[str, Any]) -> str:
    """A cell of the table."""
    low, high = row["interval"]
    return f"{row['accuracy']:.1%} [{low:.1%}, {high:.1%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--clips", type=int, nargs="+", default=list(CLIPS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    quiet()
    rows = []
    for per_label in options.clips:
        for base in (options.encoder, RANDOM):
            row = one(base, per_label, options.root, options.part, options.settings)
            print(
                f"{row['base']}, {per_label} clips a word: {row['accuracy']:.1%} of {row['n']}, "
                f"{row['minutes']:.1f} min",
                flush=True,
            )
            rows.append(row)
            if options.json is not None:
                options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    table = Table("clips a word", "pretrained", "random weights", "minutes")
    for per_label in options.clips:
        pair = [row for row in rows if row["clips_a_word"] == per_label]
        table.add_row(
            str(per_label),
            *(said(row) for row in pair),
            f"{np.mean([r['minutes'] for r in pair]):.1f}",
        )
    Console().print(table)
    best = next(r for r in rows if r["clips_a_word"] == max(options.clips))
    words = ", ".join(f"{w} {r['hits']} of {r['n']}" for w, r in best["by_label"].items())
    print(f"From the encoder, {best['clips_a_word']} clips a word: {words}")
    print("mistakes: " + "; ".join(confusions(list(best["labels"]), best["confusion"])))
    print(", ".join(f"at {level}: {said(row)}" for level, row in best["noise"].items()))


if __name__ == "__main__":
    main()
