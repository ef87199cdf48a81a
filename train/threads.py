"""Two computations beside each other in threads.

Networks, codecs and numpy release Python's lock while they work, so threads use as many cores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

Say = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""
A = TypeVar("A")
B = TypeVar("B")


def beside(
    one: Callable[[Say], A], other: Callable[[Say], B], say: Say, threads: int
) -> tuple[A, B]:
    """Results of both, which run beside each other if there are two threads.

    Both say what they do; when one fails, or the user interrupts, the other one stops where it
    next says something.
    """
    stopped = threading.Event()

    def tell(what: str, share: float) -> None:
        if stopped.is_set():
            raise CancelledError
        say(what, share)

    with ThreadPoolExecutor(min(threads, 2)) as pool:
        first, second = pool.submit(one, tell), pool.submit(other, tell)
        try:
            both: tuple[Future[Any], ...] = (first, second)
            for done in wait(both, return_when=FIRST_EXCEPTION).done:
                done.result()
            return first.result(), second.result()
        except BaseException:
            stopped.set()
            second.cancel()
            raise
