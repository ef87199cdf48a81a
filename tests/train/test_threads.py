"""Two computations beside each other."""

from __future__ import annotations

import threading

import pytest

from train.threads import Say, beside


def test_both_results_and_what_they_say() -> None:
    said: list[tuple[str, float]] = []
    meet = threading.Barrier(2, timeout=10)

    def one(say: Say) -> int:
        meet.wait()  # passes only if both run at once
        say("one", 0.5)
        return 1

    def other(say: Say) -> str:
        meet.wait()
        say("other", 0.5)
        return "two"

    assert beside(one, other, lambda what, share: said.append((what, share)), 2) == (1, "two")
    assert sorted(said) == [("one", 0.5), ("other", 0.5)]


def test_one_after_the_other_with_one_thread() -> None:
    order: list[str] = []
    found = beside(lambda say: order.append("one"), lambda say: order.append("two"), print, 1)
    assert found == (None, None)
    assert order == ["one", "two"]


@pytest.mark.parametrize("first_fails", [True, False])
def test_when_one_fails_the_other_stops(first_fails: bool) -> None:
    def fails(say: Say) -> None:
        raise OSError("disk full")

    def goes_on(say: Say) -> None:
        for _ in range(10_000):
            say("on", 0.0)
            threading.Event().wait(0.01)
        pytest.fail("was not stopped")

    tasks = (fails, goes_on) if first_fails else (goes_on, fails)
    with pytest.raises(OSError, match="disk full"):
        beside(*tasks, lambda what, share: None, 2)
