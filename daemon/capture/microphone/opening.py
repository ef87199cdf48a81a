"""Opens an input: finds it, chooses rate and channels, words refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.capture.channels import Channel
from daemon.capture.microphone import pulse
from daemon.capture.microphone.devices import (
    SOUND_SERVER,
    InputDevice,
    list_inputs,
    portaudio,
)
from daemon.capture.microphone.pulse_stream import PulseStream

_MOST_OF_HARDWARE = 8
"""An ALSA device that is no hardware and has more channels than this is a plug, which makes as many
as it is asked for."""
_PLAIN_MAPS = ((), (0,), (1, 2))
"""Channel maps that ALSA's plugin for the sound server asks for as well: none known, mono, and
front left with front right."""
_LATENCY = 0.2
"""Seconds of buffer that PortAudio is asked for. PipeWire delivers up to 8192 samples at 48 kHz in
one piece, 0.17 s, which ALSA's buffer must hold. PortAudio's own choice holds two blocks."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Rate, channels and block size to open an input with."""

    rate: int
    width: int
    """Channels."""
    block: int
    """Frames a block."""


def input_stream(device: InputDevice, index: int, shape: Shape, **callbacks: Any) -> Any:
    """A stream of the device, opened as `index` and not started.

    For `index` see `routed_to`.

    It is PortAudio's, or the sound server's own where PortAudio would get mixed channels (or, from
    PipeWire's ALSA plugin, no monitor).

    Raises: UserError if it can't be opened now.
    """
    mixed = device.channel_map not in _PLAIN_MAPS
    if device.source is not None and (mixed or device.is_monitor):
        try:
            return PulseStream(
                device.source, device.channel_map, shape.rate, shape.block, **callbacks
            )
        except UserError as error:
            raise UserError(f'"{device.name}" cannot be opened: {error}') from error
    sd = portaudio()
    try:
        return sd.InputStream(
            device=index,
            samplerate=shape.rate,
            channels=shape.width,
            dtype="float32",
            blocksize=shape.block,
            latency=_LATENCY,
            **callbacks,
        )
    except (sd.PortAudioError, ValueError) as error:
        raise UserError(refused(device, shape.rate, error)) from error


def check_server(device: InputDevice) -> None:
    """Ask the sound server for the device's source, without PortAudio.

    Raises: UserError if the server or the source is not there. Then PortAudio need not look for
    devices again, which costs time and memory.
    """
    if device.source is None:
        return
    if not any(source.name == device.source for source in pulse.list_sources() or ()):
        raise UserError(f'"{device.name}" is not there')


def same_device(device: InputDevice) -> InputDevice:
    """The same device with its present index.

    Raises: UserError if it is not there.
    """
    inputs = list_inputs()
    sources = {other.source for other in inputs if other.host_api == SOUND_SERVER}
    for other in inputs:
        if (other.name, other.host_api) != (device.name, device.host_api):
            continue
        if device.host_api != SOUND_SERVER and device.source in {None, *sources}:
            # A plugin of the sound server leads to another default by now, perhaps.
            return replace(device, index=other.index, portaudio_index=other.portaudio_index)
        if other.source == device.source:
            return other
    raise UserError(f'"{device.name}" is not there')


def choose_rate(device: InputDevice, wanted: int, width: int) -> int:
    """`wanted` in Hz; for 0 the model's rate if the device can, else its own.

    width: the channels that will be opened.

    Raises: UserError if the device can't do the rate.
    """
    sd = portaudio()

    def possible(rate: int) -> bool:
        if device.source is not None:
            return True  # the server converts
        try:
            sd.check_input_settings(
                device=device.portaudio_index, channels=width, dtype="float32", samplerate=rate
            )
        except (sd.PortAudioError, ValueError):
            return False
        return True

    if wanted == 0:
        return RATE if possible(RATE) else device.default_rate
    if not possible(wanted):
        raise UserError(
            f'"{device.name}" cannot be opened at {wanted} Hz: set rate to 0, '
            f"or to {device.default_rate}"
        )
    return wanted


def channels_to_open(device: InputDevice, channel: Channel) -> tuple[int, slice]:
    """The number of channels to open, and those that go into the ring.

    All that the device has are opened: asked for fewer, a sound server mixes.
    """
    width = device.channels
    if _is_plug(device):
        width = 1 if channel == "mix" else channel
    return width, slice(0, width) if channel == "mix" else slice(channel - 1, channel)


def _is_plug(device: InputDevice) -> bool:
    return (
        device.source is None
        and device.host_api == "ALSA"
        and device.channels > _MOST_OF_HARDWARE
        and "(hw:" not in device.name
    )


def refused(device: InputDevice, rate: int, error: Exception) -> str:
    """PortAudio's error as a sentence with the fix."""
    text = " ".join(str(error).split())
    lower = text.lower()
    if "busy" in lower or "unavailable" in lower:
        return f'"{device.name}" is in use by another program: close that, or choose another input'
    if "sample rate" in lower:
        return f'"{device.name}" cannot be opened at {rate} Hz: set rate to 0'
    return f'"{device.name}" cannot be opened: {text}'
