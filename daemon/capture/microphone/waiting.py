"""Waiting for a microphone that is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from daemon.base.errors import UserError
from daemon.capture.microphone.devices import Rescan
from daemon.capture.microphone.microphone import Microphone


def wait_for_microphone(
    build: Callable[[], Microphone],
    cancelled: Callable[[], bool],
    say: Callable[[str], None],
) -> Microphone | None:
    """Try `build` until the microphone it makes can be opened; None once `cancelled` says True.

    `say` is told once what is waited for. Attempts come every quarter of a second, and when
    devices or the sound server have come or gone.
    """
    rescan = Rescan()
    told = False
    while not cancelled():
        try:
            microphone = build()
            microphone.probe()
        except UserError as refusal:
            if not told:
                say(f"{refusal} (waiting for it)")
                told = True
        else:
            return microphone
        for _ in range(5):
            if cancelled():
                return None
            time.sleep(0.05)
            if rescan.news:
                break
        rescan.look()
    return None
