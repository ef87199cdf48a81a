"""Soft labels and frame targets for any window of a teacher's clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.augment import Excerpt
from train.data.clips import Clip
from train.distillation import whisper as teacher


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The weights and votes of a teacher's head (soft_labels.py) for all frames of some clips."""

    weights: NDArray[np.float32]
    """Shape (frames, POINTS)."""
    votes: NDArray[np.float16]
    """Shape (frames, POINTS, labels)."""
    spans: dict[int, tuple[int, int]]
    """First and last frame (exclusive) of each clip, by its id()."""
    centres: NDArray[np.float64]
    """Samples of a window that the small model's frames are centred on, shape (n,)."""
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    """Of weights and votes side by side, shape (POINTS * (1 + labels),)."""

    def soft_label(self, clip: Clip, first: float, last: float) -> NDArray[np.float32] | None:
        """Log-probabilities (labels,) of the frames of `clip` that are centred in its samples
        `first` to `last`; None if there are none, or if the clip is not known."""
        start, end = self.spans.get(id(clip), (0, 0))
        low = start + max(0, int(np.ceil(first / teacher.FRAME)))
        high = min(end, start + int(np.ceil(last / teacher.FRAME)))
        if high <= low:
            return None
        share = np.exp(self.weights[low:high] - self.weights[low:high].max(axis=0))
        share /= share.sum(axis=0)
        logits = np.einsum("np,npl->l", share, self.votes[low:high].astype(np.float32))
        logits -= logits.max()
        found: NDArray[np.float32] = logits - np.log(np.exp(logits).sum())
        return found

    def frame_targets(
        self, clip: Clip, excerpt: Excerpt, factor: float
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Weights and votes, standardised, for each of the small model's frames of a window: shape
        (n, POINTS * (1 + labels)), and for which of them there are any, (n,).

        `excerpt` is of the clip played `factor` times as fast.
        """
        start, end = self.spans[id(clip)]
        places = self.centres - excerpt.at + excerpt.first
        # The two teacher frames beside the centre.
        near = np.floor(places * factor / teacher.FRAME).astype(np.int64) + start
        # The teacher's frames cover only the beginning of a long recording.
        mask = (places >= excerpt.first) & (places < excerpt.last) & (near < end)
        near = np.clip(np.stack([near, near + 1]), start, end - 1)
        count = self.weights.shape[1]
        found = np.empty((len(places), len(self.mean)), np.float32)
        found[:, :count] = self.weights[near].mean(axis=0)
        found[:, count:] = self.votes[near].astype(np.float32).mean(axis=0).reshape(len(places), -1)
        return (found - self.mean) / self.deviation, mask
