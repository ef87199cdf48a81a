"""One small model, trained once, for the tests of the other commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from support.train_helpers import RATE, recipe_tree, tiny_base, write_recipe, write_words
from train.cli import main

Command = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Taught:
    """Synthetic words and their model.

    "rise", "fall", and "flat", which is no intent.
    """

    folder: Path
    recipe: Path
    model: Path
    noise: Path

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.model / "metrics.json").read_text())
        return found

    def clips(self, part: str) -> list[tuple[Path, str]]:
        """File and label of the clips of a part, in the run's order."""
        rows = [json.loads(line) for line in (self.model / "split.jsonl").open()]
        return [(self.folder / "words" / r["path"], r["label"]) for r in rows if r["part"] == part]


def run_command(*arguments: object) -> int:
    """`intentd-train ARGUMENTS` in this process; its exit status."""
    before, sys.argv = sys.argv, ["intentd-train", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def teach(folder: Path) -> Taught:
    write_words(folder / "words", ("rise", "fall", "flat"), 20)
    tiny_base(folder / "base")
    noise = folder / "noise.wav"
    soundfile.write(noise, 0.02 * np.random.default_rng(9).standard_normal(5 * RATE), RATE)
    tree = recipe_tree(folder / "words", folder / "base", steps=40, eval_every=20)
    tree["data"][0]["attribution"] = "Buzzes by nobody, CC0"
    made = Taught(folder, write_recipe(folder / "taught.toml", tree), folder / "model", noise)
    assert run_command(made.recipe, "--output", made.model) == 0
    return made
