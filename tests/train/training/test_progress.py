"""What a training run says while it goes."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from train.training.progress import Pace, RichProgress


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_says_what_is_known(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    now = 100.0
    monkeypatch.setattr("train.training.progress.time.monotonic", lambda: now)
    console = Console(file=out, width=140, force_terminal=terminal, color_system=None)
    bar = RichProgress(console)
    state = SimpleNamespace(global_step=0, max_steps=200, is_world_process_zero=True)
    bar.on_train_begin(None, state, None)
    now, state.global_step = 140.0, 10
    bar.on_step_end(None, state, None)
    bar.on_log(None, state, None, logs={"loss": 1.25})
    bar.on_evaluate(None, state, None, metrics={"eval_accuracy": 0.5, "eval_macro_f1": 0.4})
    now, state.global_step = 180.0, 160
    bar.on_step_end(None, state, None)
    bar.on_train_end(None, state, None)
    said = out.getvalue()
    assert "nan%" not in said
    assert "loss nan" not in said.replace("loss nan on validation", "")
    assert "loss 1.250, accuracy 50.0%, 2.00 steps/s" in said
    if not terminal:
        assert "step 10 of 200: 4.0 s a step, 13 min left" in said
        assert "step 160 of 200" in said


def test_the_pace_leaves_evaluation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("train.training.progress.time.monotonic", lambda: now)
    pace = Pace()
    pace.on_train_begin(None, None, None)
    for step in range(4):
        now += 2.0
        pace.on_step_end(None, None, None)
        if step == 1:
            now += 50.0
            pace.on_evaluate(None, None, None)
            now += 9.0
            pace.on_save(None, None, None)
    assert pace.seconds_per_step == 2.0
