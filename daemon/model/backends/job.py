"""A model for a backend to open, and how it will be called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.model.cores import default_threads
from daemon.model.description.info import ModelInfo
from daemon.model.overlap import Overlap
from daemon.model.weights import find_weights


@dataclass(frozen=True, slots=True)
class Job:
    """A model for a backend to open."""

    info: ModelInfo
    weights: Path
    """The model's safetensors file."""
    window: int
    """Samples of the windows it will be given."""
    threads: int
    """Of the processor, at least 1."""
    hop: int = 0
    """Samples from window to window where they follow each other; 0: they don't."""
    parallel: int = 0
    """Batches that run at once, each in a thread of its caller; 0: one follows the other, and its
    windows may follow those of the one before."""

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        window_seconds: float | None,
        hop_seconds: float,
        threads: int,
        parallel: int = 0,
    ) -> Job:
        """Build a job; with `threads` 0 as many as suit the model.

        Raises: UserError if the model has no weights that can be used or can't take such windows.
        """
        weights = find_weights(info)
        return cls(
            info,
            weights,
            info.window_samples(window_seconds),
            threads or default_threads(weights.stat().st_size),
            round(hop_seconds * info.rate),
            parallel,
        )

    @property
    def overlap(self) -> Overlap | None:
        """Of windows that follow each other, where frames may be used again."""
        return Overlap.of(self.info, self.window, self.hop)
