"""Time limits for calls into PortAudio.

They hang while a sound server is frozen.

Such a call ends neither by itself nor by a signal: Python runs signal handlers in the main thread,
and only between two instructions. So the main thread has the call made by another thread and waits
for its result, which signals and time limits do interrupt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoResult
from typing import TypeVar

from daemon.base.errors import UserError
from daemon.capture.microphone.pulse import NO_ANSWER

CALL_SECONDS = 3.0
"""Enough for PortAudio on a busy machine with many devices, and less than users wait for."""
_QUEUE_SECONDS = 0.5
"""How long a call waits for an earlier one that hangs."""

_Result = TypeVar("_Result")
_in_use = threading.Lock()  # PortAudio takes one call at a time


def with_time_limit(
    call: Callable[[], _Result], seconds: float = CALL_SECONDS, refusal: str = NO_ANSWER
) -> _Result:
    """The result of `call`, which a thread of its own makes.

    A call that has run out of time goes on in its thread, and keeps later ones from being made
    until it ends.

    Raises: UserError with the sentence `refusal` if there is no result within `seconds`, or an
    earlier call still hangs; whatever `call` raises.
    """
    if not _in_use.acquire(timeout=_QUEUE_SECONDS):
        raise UserError(refusal)
    result: Future[_Result] = Future()

    def make() -> None:
        try:
            value = call()
        except BaseException as error:
            _in_use.release()
            result.set_exception(error)
        else:
            _in_use.release()
            result.set_result(value)

    threading.Thread(target=make, name="portaudio-call", daemon=True).start()
    try:
        return result.result(timeout=seconds)
    except NoResult:
        raise UserError(refusal) from None
