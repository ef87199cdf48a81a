"""Batches of windows on their way through the model, kept in order.

They come back in the order in which they were made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Classify = Callable[[Floats], Floats]
"""Windows, shape (n, samples) at 16 kHz, to probabilities, shape (n, labels)."""
Item = TypeVar("Item")

DEPTH: Final = 16
"""Batches in flight. Not the number of threads: when scores arrive decides the order in which the
messages of several streams are published, and that must not depend on the machine."""


class Batches(Generic[Item]):
    """Classifies batches in threads of its own, several at once.

    The scores of a batch are given back once `DEPTH` younger ones have been added, or all are
    asked for. `classify` is called by `threads` threads at once.
    """

    def __init__(self, classify: Classify, threads: int) -> None:
        self._classify = classify
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="classifier")
        self._pending: deque[tuple[Sequence[Item], Future[Floats]]] = deque()

    def __len__(self) -> int:
        """Batches whose scores have not been given back."""
        return len(self._pending)

    def add(self, items: Sequence[Item], windows: Floats) -> None:
        """A batch: `windows`, shape (n, samples), and an item for each of them."""
        self._pending.append((items, self._pool.submit(self._classify, windows)))

    def results(self, keep: int = DEPTH) -> Iterator[tuple[Sequence[Item], Floats]]:
        """Items and scores of the oldest batches, all but the `keep` youngest.

        Waits for them. Raises what `classify` raised.
        """
        while len(self._pending) > keep:
            items, scores = self._pending.popleft()
            yield items, scores.result()

    def close(self) -> None:
        """Give up what has not begun; does not wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)
