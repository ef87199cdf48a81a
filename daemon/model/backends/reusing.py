"""Frames of overlapping windows, computed once.

The network is split in two: the convolutions over samples, and the rest. Frames that a window
shares with the previous one are reused (see `daemon.model.overlap`). The previous window is found
by comparing samples, so callers need not say which stream a window belongs to, and the scores are
those of the whole network for any input.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.model.backends.base import Backend
from daemon.model.overlap import Overlap

KEPT: Final = 256
"""Windows that are remembered at most: as many streams as may speak at once."""
KEPT_BYTES: Final = 1 << 26
"""Of memory for them; a window of 1 s takes 50 to 150 kB."""
_KEY: Final = 32
"""Samples by which a window finds the one before it; then all are compared."""

Floats = NDArray[np.float32]


class Reusing:
    """Two backends in a row that reuse the frames of overlapping windows.

    `convolutions`: from samples (n, m), m being a window or the tail of `overlap`, to frames
    (n, channels, f). `rest`: from the frames of a window to logits. `remember`: windows that follow
    those of an earlier batch reuse theirs too; not for batches that run at once, in any order.
    """

    def __init__(
        self, convolutions: Backend, rest: Backend, overlap: Overlap, *, remember: bool = True
    ) -> None:
        self.name = rest.name
        self._convolutions = convolutions
        self._rest = rest
        self._overlap = overlap
        self._remember = remember
        # By the first samples of the window that would come next: those that it would share, and
        # their frames.
        self._kept: OrderedDict[bytes, tuple[Floats, Floats]] = OrderedDict()
        self.reused = 0
        """Windows so far of which only the tail was computed."""

    def run(self, inputs: Floats) -> Floats:
        hop, shared = self._overlap.hop, self._overlap.shared
        rows: dict[bytes, int] = {}  # of this batch, by what the next window begins with
        before: list[Floats | int | None] = []  # shared frames, the row that has them, or nothing
        for number, window in enumerate(inputs):
            before.append(self._before(window, inputs, rows))
            rows[window[hop : hop + _KEY].tobytes()] = number
        frames = self._frames(inputs, before)
        for key, number in rows.items() if self._remember else ():
            self._kept[key] = (inputs[number, hop:].copy(), frames[number, :, -shared:].copy())
            self._kept.move_to_end(key)
        most = min(KEPT, KEPT_BYTES // (inputs[0, hop:].nbytes + frames[0, :, -shared:].nbytes))
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        return self._rest.run(frames)

    def _before(
        self, window: Floats, inputs: Floats, rows: dict[bytes, int]
    ) -> Floats | int | None:
        key, common = window[:_KEY].tobytes(), window[: -self._overlap.hop]
        number = rows.get(key)
        if number is not None and np.array_equal(inputs[number, self._overlap.hop :], common):
            del rows[key]  # it has been followed
            return number
        kept = self._kept.get(key)
        if kept is not None and np.array_equal(kept[0], common):
            del self._kept[key]
            return kept[1]
        return None

    def _frames(self, inputs: Floats, before: list[Floats | int | None]) -> Floats:
        """Frames of all windows, shape (n, channels, frames)."""
        whole = [n for n, source in enumerate(before) if source is None]
        partly = [n for n, source in enumerate(before) if source is not None]
        if not partly:
            return self._convolutions.run(inputs)
        self.reused += len(partly)
        tails = np.ascontiguousarray(inputs[partly, self._overlap.tail])
        fresh = self._convolutions.run(tails)
        shared = self._overlap.shared
        frames = np.empty((len(inputs), fresh.shape[1], self._overlap.frames), np.float32)
        if whole:
            frames[whole] = self._convolutions.run(inputs[whole])
        for row, end in zip(partly, fresh, strict=True):
            source = before[row]
            known = frames[source, :, -shared:] if isinstance(source, int) else source
            frames[row, :, :shared] = known
            frames[row, :, shared:] = end
        return frames
