"""An asyncio event loop in its own thread, for code that uses threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
log = logging.getLogger(__name__)

_STOP_SECONDS = 1.0
"""How long `stop` waits for tasks that were cancelled."""


class LoopThread:
    """Runs coroutines from `start` to `stop`, for any other thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._running = threading.Event()

    @property
    def running(self) -> bool:
        return self._running.is_set()

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_failure)
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        self._running.wait()

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout: float | None = None) -> Result:
        """Run a coroutine and return its result, or raise what it raises.

        Raises: RuntimeError before `start`.
        """
        if self._loop is None:
            coroutine.close()
            raise RuntimeError(f"{self._name} does not run")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call a function soon; without effect once it stopped."""
        if self._loop is not None and self.running:
            with contextlib.suppress(RuntimeError):  # it was closed in between
                self._loop.call_soon_threadsafe(function, *arguments)

    def stop(self) -> None:
        """Cancel all tasks and end the thread; may be called twice."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not self.running:
            return
        with contextlib.suppress(RuntimeError, TimeoutError):
            self.run(_cancel_all(), _STOP_SECONDS)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        loop.call_soon(self._running.set)
        try:
            loop.run_forever()
        finally:
            self._running.clear()
            loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_STOP_SECONDS / 2) if tasks else None


def _log_failure(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio would print to stderr, with a traceback."""
    log.error("%s", context.get("message"), exc_info=context.get("exception"))
