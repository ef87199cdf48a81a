"""Progress of a training run: a Rich line on a terminal, else plain lines."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

PLAIN_SECONDS = 30.0
"""Off a terminal a line at most this often, evaluations aside."""


class RichProgress(TrainerCallback):  # type: ignore[misc]
    """Loss, accuracy, pace and time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.task: TaskID = TaskID(0)
        self.loss = self.accuracy = float("nan")
        self.began = self.said = 0.0
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = self.said = time.monotonic()
        self.first = state.global_step
        if not state.is_world_process_zero:
            return
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("[bold]training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.task = self.bar.add_task(
                "training",
                total=state.max_steps,
                completed=state.global_step,
                figures="",
            )
            self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(
                self.task, completed=state.global_step, figures=self._figures(self._pace(state))
            )
        elif state.is_world_process_zero and time.monotonic() - self.said > PLAIN_SECONDS:
            self._say(state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.loss = float(logs["loss"])

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not metrics:
            return
        if "eval_accuracy" not in metrics:
            self.console.print(
                f"step {state.global_step}: loss {metrics.get('eval_loss', float('nan')):.4f} "
                "on validation",
                highlight=False,
            )
            return
        self.accuracy = float(metrics["eval_accuracy"])
        self.console.print(
            f"step {state.global_step}: accuracy {self.accuracy:.1%}, "
            f"macro-F1 {metrics.get('eval_macro_f1', float('nan')):.3f}, "
            f"loss {metrics.get('eval_loss', float('nan')):.3f} on validation",
            highlight=False,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back; may be called twice."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _pace(self, state: Any) -> float:
        return float((state.global_step - self.first) / max(1e-9, time.monotonic() - self.began))

    def _say(self, state: Any) -> None:
        self.said = time.monotonic()
        pace = self._pace(state)
        left = (state.max_steps - state.global_step) / max(1e-9, pace)
        self.console.print(
            f"step {state.global_step} of {state.max_steps}: {self._figures(pace)}, "
            f"{left / 60:.0f} min left",
            highlight=False,
        )

    def _figures(self, pace: float) -> str:
        """Loss and accuracy as far as known, and pace (steps a second)."""
        said = [] if math.isnan(self.loss) else [f"loss {self.loss:.3f}"]
        said += [] if math.isnan(self.accuracy) else [f"accuracy {self.accuracy:.1%}"]
        said.append(f"{pace:.2f} steps/s" if pace >= 0.5 else f"{1 / max(pace, 1e-9):.1f} s a step")
        return ", ".join(said)


class Pace(TrainerCallback):  # type: ignore[misc]
    """Time of the steps, evaluation and saving aside."""

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = 0.0
        self._mark = time.monotonic()

    @property
    def seconds_per_step(self) -> float:
        return self.seconds / max(1, self.steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        self.seconds += now - self._mark
        self.steps += 1
        self._mark = now

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark = time.monotonic()
