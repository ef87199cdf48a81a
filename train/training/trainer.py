"""transformers' Trainer with averaged weights and checked checkpoints.

It ends in good order. A checkpoint holds, beyond transformers' own files, the average of the
weights and a seal (see `checkpoints`).
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors.torch
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback, TrainerState

from daemon.base.errors import UserError
from train.training.checkpoints import damage, seal, seconds_of
from train.training.progress import Pace

SAVE_SECONDS = 480.0
"""A checkpoint at least this often, so that no interruption loses more than ten minutes."""
AVERAGE = "average.safetensors"


class IntentTrainer(Trainer):  # type: ignore[misc]
    """Trainer that evaluates and saves the moving average of the weights.

    `average`: decay a step; 0 for none. `loss`: called as loss(model, inputs) -> (loss, logits)
    instead of the model's own loss, or None.
    """

    def __init__(self, *args: Any, average: float = 0.0, loss: Any = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.averaged: AveragedModel | None = None
        self.own_loss = loss
        if average:
            self.averaged = AveragedModel(
                self.model,
                multi_avg_fn=get_ema_multi_avg_fn(average),  # type: ignore[no-untyped-call]
            )
            self.averaged.requires_grad_(False)
        self.pace = Pace()
        self.add_callback(self.pace)
        self.add_callback(Keeper(self))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self.own_loss is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, logits = self.own_loss(model, inputs)
        return (loss, {"logits": logits}) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **rest: Any) -> Any:
        with self.using_average():
            return super().evaluation_loop(*args, **rest)

    @contextlib.contextmanager
    def using_average(self) -> Iterator[None]:
        """The averaged weights stand in the model meanwhile."""
        if self.averaged is None or not int(self.averaged.n_averaged):
            yield
            return
        raw = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged.module.state_dict())
        try:
            yield
        finally:
            self.model.load_state_dict(raw)

    def keep_average(self) -> None:
        """Put the average into the model for good."""
        if self.averaged is not None and int(self.averaged.n_averaged):
            self.model.load_state_dict(self.averaged.module.state_dict())

    def load_average(self, checkpoint: Path) -> None:
        """The average of a checkpoint; training or `keep_average` goes on from it."""
        if self.averaged is None:
            return
        file = checkpoint / AVERAGE
        if not file.is_file():
            raise UserError(f"{checkpoint} has no averaged weights; was train.average changed?")
        state = safetensors.torch.load_file(file, device=str(self.args.device))
        self.averaged.n_averaged.fill_(1)
        self.averaged.module.load_state_dict(state)

    def take(self, checkpoint: Path) -> None:
        """Load the weights and state that training ended with.

        From its last checkpoint.
        """
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if self.averaged is not None:
            self.load_average(checkpoint)
            self.keep_average()
            return
        best = self.best_checkpoint(checkpoint)
        file = (checkpoint if damage(best) else best) / "model.safetensors"
        self.model.load_state_dict(safetensors.torch.load_file(file))

    def best_checkpoint(self, last: Path) -> Path:
        """The checkpoint with the best accuracy known beside `last`."""
        step = TrainerState.load_from_json(str(last / "trainer_state.json")).best_global_step
        best = last.parent / f"checkpoint-{step}"
        return best if step and best.is_dir() else last


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Averages after each step, saves by time and signal, seals checkpoints."""

    def __init__(self, trainer: IntentTrainer) -> None:
        self.trainer = trainer
        self.began = self.saved = time.monotonic()
        self.before = 0.0
        self.signal: int | None = None
        self.previous: dict[int, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = self.saved = time.monotonic()
        self._find_best(args, state)
        if state.global_step:
            self.before = seconds_of(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        if self.trainer.averaged is not None:
            self.trainer.averaged.to(args.device)
            if state.global_step:
                self.trainer.load_average(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def _find_best(self, args: Any, state: Any) -> None:
        """Point to the best checkpoint where it is now.

        The run may have been moved, or have lost it.
        """
        if not state.best_global_step:
            return
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        whole = best.is_dir() and not damage(best)
        state.best_model_checkpoint = str(best) if whole else None
        if not whole:
            state.best_metric = state.best_global_step = None

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any
    ) -> None:
        # accelerate does not hand the epoch on to the data set when processes share a sampler.
        steps = max(1, -(-len(train_dataloader) // args.gradient_accumulation_steps))
        self.trainer.train_dataset.set_epoch(state.global_step // steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.averaged is not None:
            self.trainer.averaged.update_parameters(self.trainer.model)
        stop, due = self._agree(args, state)
        if due or stop or state.global_step >= state.max_steps:
            control.should_save = True
        if stop:
            control.should_training_stop = True

    def _agree(self, args: Any, state: Any) -> tuple[bool, bool]:
        """Whether to stop and whether to save; the same in every process."""
        wish = [self.signal is not None, time.monotonic() - self.saved > SAVE_SECONDS]
        if args.world_size > 1:
            shared = torch.tensor(wish, dtype=torch.int32, device=args.device)
            torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
            wish = [bool(value) for value in shared.tolist()]
            if wish[0] and self.signal is None:
                self.signal = signal.SIGTERM
        return wish[0], wish[1]

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
        if not args.should_save:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self.trainer.averaged is not None:
            weights = {
                name: value.contiguous().cpu()
                for name, value in self.trainer.averaged.module.state_dict().items()
            }
            safetensors.torch.save_file(weights, folder / AVERAGE, metadata={"format": "pt"})
        seal(folder, self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, with the runs that it goes on from."""
        return self.before + time.monotonic() - self.began

    @contextlib.contextmanager
    def catching_signals(self) -> Iterator[None]:
        """End training after the current step at a SIGINT or SIGTERM.

        A second one ends it at once.
        """

        def note(number: int, frame: FrameType | None) -> None:
            self.signal = number
            signal.signal(number, self.previous[number])

        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for caught, handler in self.previous.items():
                signal.signal(caught, handler)


def keeper_of(trainer: IntentTrainer) -> Keeper:
    return next(c for c in trainer.callback_handler.callbacks if isinstance(c, Keeper))


def is_last(checkpoint: Path) -> bool:
    """Whether training was at its end by then."""
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return int(state.global_step) >= int(state.max_steps)
