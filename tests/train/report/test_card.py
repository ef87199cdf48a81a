"""The model card and its plots, with labels that look like markup."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from train.evaluation.evaluate import Classified, Condition, Evaluation
from train.evaluation.scoring import score
from train.recipe import Recipe
from train.report import card, plots
from train.simulation.tracks import ReferenceEvent

LABELS = ("$5_x$", "a|b", "[red]go[/red]", "<b>on</b>", "*up*_`c`", "unknown")


def evaluation() -> Evaluation:
    """Each label twice, the second time taken for the next one."""
    number = len(LABELS)
    references = np.repeat(np.arange(number), 2)
    predicted = references.copy()
    predicted[1::2] = (references[1::2] + 1) % number
    found = Classified(np.eye(number, dtype=np.float32)[predicted], references)
    truth = [
        ReferenceEvent(label, n, n + 1, n + 0.8, label != "unknown")
        for n, label in enumerate(LABELS)
    ]
    stream = score([], truth, 0.1)
    conditions = tuple(Condition(level, found, found, stream) for level in (None, 12.0))
    return Evaluation(LABELS, frozenset({"unknown"}), conditions, score([], [], 0.5), {}, 0)


def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "*odd* | `names`",
            "data": [{"path": "w|rds"}],
            "model": {"labels": list(LABELS), "non_intents": ["unknown"]},
        }
    )


def write(folder: Path) -> tuple[str, list[str]]:
    """The card, and what was said."""
    found = evaluation()
    figures = {
        "part": "test",
        "seed": 0,
        "command": "intentd-train `odd`",
        "versions": {"python": "3"},
        "date": "today",
        "clips": {label: dict.fromkeys(("train", "validation", "test"), 2) for label in LABELS},
        "unknown_speakers": {"w|rds": 3},
        "problems": 0,
        "notes": ["w|rds: 1 recording is a copy"],
        **found.figures(),
    }
    said: list[str] = []
    card.write(folder, recipe(), found, json.loads(json.dumps(figures)), said.append)
    return (folder / "README.md").read_text(encoding="utf-8"), said


def columns(row: str) -> int:
    return row.replace("\\|", "").count("|")


def test_odd_labels_break_no_table_and_no_picture(tmp_path: Path) -> None:
    text, said = write(tmp_path)
    assert not said
    for name in ("confusion", "reliability", "noise"):
        assert (tmp_path / "report" / f"{name}.png").stat().st_size > 5000
    lines = text.splitlines()
    tables = [n for n, line in enumerate(lines) if line.startswith("|---")]
    assert len(tables) >= 3
    for n in tables:
        rows = [lines[n - 1]]
        for line in lines[n + 1 :]:
            if not line.startswith("|"):
                break
            rows.append(line)
        assert {columns(row) for row in rows} == {columns(lines[n])}
    assert "<b>" not in text
    assert "1 recording is a copy" in text


def test_a_picture_that_fails_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Failed to parse\nin the second line")

    monkeypatch.setattr(plots, "reliability", fail)
    text, said = write(tmp_path)
    assert said == [
        "report/reliability.png could not be made (ValueError: Failed to parse) and is left out"
    ]
    assert "report/noise.png" in text
    assert "reliability.png" not in text
