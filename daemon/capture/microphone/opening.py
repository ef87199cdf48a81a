"""How an input is opened: which one it is by now, its rate and channels, or why it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.base.errors import UserError
from daemon.capture.channels import Channel
from daemon.capture.microphone import pulse
from daemon.capture.microphone.devices import InputDevice, heard_through, list_inputs, portaudio

MODEL_RATE = 16000
_MOST_MIXED = 8
"""A device with more channels is a sound server's plug, whose surplus channels are silent."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What PortAudio is asked for."""

    rate: int
    width: int
    """Channels."""
    block: int
    """Frames a block."""


def input_stream(device: InputDevice, index: int, shape: Shape, **callbacks: Any) -> Any:
    """PortAudio's stream of the device, opened as `index` (see `heard_through`) and not started.

    UserError if it can't be opened now.
    """
    sd = portaudio()
    try:
        return sd.InputStream(
            device=index,
            samplerate=shape.rate,
            channels=shape.width,
            dtype="float32",
            blocksize=shape.block,
            **callbacks,
        )
    except (sd.PortAudioError, ValueError) as error:
        raise UserError(refused(device, shape.rate, error)) from error


def check_server(device: InputDevice) -> None:
    """UserError if the device is a sound server's, and the server is not there or does not know
    it. PortAudio needs not look for devices anew then, which costs time and memory."""
    if device.source is None:
        return
    if not any(source.name == device.source for source in pulse.list_sources() or ()):
        raise UserError(f'"{device.name}" is not there')


def same_device(device: InputDevice) -> InputDevice:
    """The device of that very name as it is numbered now. UserError if it is not there."""
    for other in list_inputs(rates=False):
        if (other.name, other.host_api, other.source) == (
            device.name,
            device.host_api,
            device.source,
        ):
            return other
    raise UserError(f'"{device.name}" is not there')


def choose_rate(device: InputDevice, wanted: int) -> int:
    """`wanted` in Hz; for 0 the model's rate if the device can, else its own. UserError if it
    can't do the rate."""
    sd = portaudio()

    def possible(rate: int) -> bool:
        with heard_through(device) as index:
            try:
                sd.check_input_settings(device=index, channels=1, dtype="float32", samplerate=rate)
            except (sd.PortAudioError, ValueError):
                return False
        return True

    if wanted == 0:
        return MODEL_RATE if possible(MODEL_RATE) else device.default_rate
    if not possible(wanted):
        raise UserError(
            f'"{device.name}" cannot be opened at {wanted} Hz: set rate to 0, '
            f"or to {device.default_rate}"
        )
    return wanted


def channels_to_open(device: InputDevice, channel: Channel) -> tuple[int, slice]:
    """How many channels to open, and which of them go into the ring."""
    if channel != "mix":
        return channel, slice(channel - 1, channel)
    width = device.channels if device.channels <= _MOST_MIXED else 1
    return width, slice(0, width)


def refused(device: InputDevice, rate: int, error: Exception) -> str:
    """A sentence of what PortAudio says."""
    text = " ".join(str(error).split())
    lower = text.lower()
    if "busy" in lower or "unavailable" in lower:
        return f'"{device.name}" is in use by another program: close that, or choose another input'
    if "sample rate" in lower:
        return f'"{device.name}" cannot be opened at {rate} Hz: set rate to 0'
    return f'"{device.name}" cannot be opened: {text}'
