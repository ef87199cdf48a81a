"""What a guide (train/teach.py) makes of any window of the clips that it has heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train import teacher
from train.data import Clip


@dataclass(frozen=True, slots=True)
class Guide:
    """The weights and votes of all frames of some clips."""

    weights: NDArray[np.float32]
    """Shape (frames, POINTS)."""
    votes: NDArray[np.float16]
    """Shape (frames, POINTS, labels)."""
    spans: dict[int, tuple[int, int]]
    """First and last frame (exclusive) of each clip, by its id()."""

    def opinion(self, clip: Clip, first: float, last: float) -> NDArray[np.float32] | None:
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
