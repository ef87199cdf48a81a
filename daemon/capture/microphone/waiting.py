"""Waits for a microphone that is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from daemon.base.errors import UserError
from daemon.capture.microphone.devices import Rescan
from daemon.capture.microphone.microphone import Microphone
from daemon.capture.microphone.time_limit import with_time_limit


def wait_for_microphone(
    build: Callable[[], Microphone],
    cancelled: Callable[[], bool],
    on_wait: Callable[[str], None],
) -> Microphone | None:
    """Retry `build` until its microphone opens; None once `cancelled()`.

    `on_wait` is called with a sentence for each cause of the wait, once. Attempts
    come every quarter of a second, and when devices or the sound server have come or gone.
    """
    rescan = Rescan()
    causes: set[str] = set()
    while not cancelled():
        try:
            microphone = build()
            microphone.probe()
        except UserError as refusal:
            if str(refusal) not in causes:
                causes.add(str(refusal))
                on_wait(f"{refusal} (waiting for it)")
        else:
            return microphone
        for _ in range(5):
            if cancelled():
                return None
            time.sleep(0.05)
            if rescan.changed:
                break
        with suppress(UserError):
            with_time_limit(rescan.look)
    return None
