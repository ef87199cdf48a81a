from __future__ import annotations

import threading

import numpy as np
import pytest

from daemon.runtime.batches import DEPTH, Batches, Floats


def windows(value: float) -> Floats:
    return np.full((2, 3), value, dtype=np.float32)


def test_scores_come_back_in_order_however_long_each_takes() -> None:
    """The first batch waits for the second, in another thread."""
    second = threading.Event()

    def classify(batch: Floats) -> Floats:
        if batch[0, 0] == 0:
            assert second.wait(30)
        elif batch[0, 0] == 1:
            second.set()
        return batch

    batches: Batches[str] = Batches(classify, 2)
    for number, name in enumerate("abc"):
        batches.add([name], windows(number))
    assert list(batches.results()) == []  # fewer than DEPTH: none is waited for
    found = [(items, scores[0, 0]) for items, scores in batches.results(keep=0)]
    assert found == [(["a"], 0), (["b"], 1), (["c"], 2)]
    batches.close()


def test_as_many_are_in_flight_as_may_be() -> None:
    batches: Batches[int] = Batches(lambda batch: batch, 1)
    given = []
    for number in range(DEPTH + 3):
        batches.add([number], windows(number))
        given += [items[0] for items, _ in batches.results()]
    assert given == [0, 1, 2]
    assert len(batches) == DEPTH
    batches.close()


def test_what_the_model_raises_is_raised_where_the_scores_are_asked_for() -> None:
    def classify(batch: Floats) -> Floats:
        raise ValueError("damaged")

    batches: Batches[int] = Batches(classify, 1)
    batches.add([0], windows(0))
    with pytest.raises(ValueError, match="damaged"):
        list(batches.results(keep=0))
    batches.close()
