"""Blocks that carry their positions, and checks of a ring's reader."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.capture.ring import Chunk, Ring


def block(start: int, n: int, channels: int = 1) -> NDArray[np.float32]:
    """Samples that carry their own stored position.

    It is exact in float32 below 2^24.
    """
    column = np.arange(start, start + n, dtype=np.float32)
    return np.repeat(column[:, None], channels, axis=1)


def drain(ring: Ring, max_frames: int = 1 << 20) -> list[Chunk]:
    chunks = []
    while (chunk := ring.read(max_frames)) is not None:
        chunks.append(chunk)
    return chunks


class Ledger:
    """What a reader may conclude from the chunks; fails on contradictions."""

    def __init__(self) -> None:
        self.position = 0
        self.read = 0
        self.lost = 0

    def take(self, chunk: Chunk) -> None:
        assert chunk.start == self.position + chunk.lost
        assert (chunk.lost > 0) == bool(chunk.reason)
        assert chunk.captured + chunk.never_arrived == chunk.end
        self.lost += chunk.lost
        self.read += len(chunk.samples)
        assert self.lost == chunk.shed + chunk.never_arrived
        assert self.read + chunk.shed == chunk.captured
        self.position = chunk.end
        if len(chunk.samples):
            # The samples carry their stored positions: order, and nothing twice.
            first = chunk.start - chunk.never_arrived
            np.testing.assert_array_equal(
                chunk.samples[:, 0], np.arange(first, first + len(chunk.samples))
            )
            assert chunk.block_ends[0] > chunk.start
            assert (np.diff(chunk.block_ends) > 0).all()
            assert chunk.block_ends[-1] >= chunk.end
            assert len(chunk.block_ends) == 1 or chunk.block_ends[-2] < chunk.end
        else:
            assert chunk.lost > 0
