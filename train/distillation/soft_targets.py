"""Teacher outputs for any window of the clips that it was run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data.clips import Clip


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """A teacher's vectors of windows of clips, and soft labels from them.

    A window takes those of the nearest one that the teacher was run on.
    """

    spans: dict[int, tuple[int, int]]
    """First and last window (exclusive) of each clip, by its id()."""
    centres: NDArray[np.int64]
    """The sample that each window is centred on, ascending within a clip, shape (windows,)."""
    logs: NDArray[np.float32]
    """Log-probabilities, shape (windows, labels)."""
    rows: NDArray[np.int64]
    """Where each window's vector lies in `vectors`, shape (windows,)."""
    vectors: NDArray[np.float16]
    """Unit vectors, shape (n, width), on disk."""

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    def nearest(self, clip: Clip, centre: float) -> int | None:
        """Nearest known window of `clip` to a sample of it; None if none is known.

        Nearest is the one whose centre is.
        """
        start, end = self.spans.get(id(clip), (0, 0))
        if start == end:
            return None
        return start + int(np.abs(self.centres[start:end] - centre).argmin())

    def soft_label(self, window: int) -> NDArray[np.float32]:
        """Log-probabilities, shape (labels,)."""
        found: NDArray[np.float32] = self.logs[window]
        return found

    def vector(self, window: int) -> NDArray[np.float32]:
        """The teacher's unit vector, shape (width,)."""
        found: NDArray[np.float32] = self.vectors[self.rows[window]].astype(np.float32)
        return found
