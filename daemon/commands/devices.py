"""`intentd devices`: the microphones that can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from daemon.base.journal import complain
from daemon.base.stderr import discard_native_stderr
from daemon.base.text import screen_text
from daemon.capture.microphone.devices import InputDevice, list_inputs, with_rates
from daemon.capture.microphone.time_limit import with_time_limit


def run() -> int:
    """Print one line an input; `*` marks the default.

    Raises: UserError without PortAudio, or if the sound server does not answer.
    """
    with discard_native_stderr():
        inputs = [
            with_time_limit(partial(with_rates, device)) for device in with_time_limit(list_inputs)
        ]
    if not inputs:
        complain("no microphone was found: connect one, or start the sound server", "warning")
        return 1
    print(table(inputs), flush=True)
    return 0


def table(inputs: Sequence[InputDevice]) -> str:
    """The inputs in columns."""
    rows = [
        (
            f"{'*' if device.is_default else ' '} {device.index}",
            screen_text(device.name),
            f"{device.channels} channel{'' if device.channels == 1 else 's'}",
            ", ".join(_kilohertz(rate) for rate in device.rates or (device.default_rate,)),
            screen_text(device.host_api),
        )
        for device in inputs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    return "\n".join([*lines, "* is the default; rates in kHz"])


def _kilohertz(rate: int) -> str:
    return f"{rate / 1000:g}"
