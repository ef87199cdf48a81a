"""Which inputs there are, and which of them a user means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.capture.microphone import pulse

RATES = (8000, 16000, 22050, 32000, 44100, 48000, 96000)
"""Rates that are tried, in Hz."""


@dataclass(frozen=True, slots=True)
class InputDevice:
    """An input that can be chosen by index or by a part of its name."""

    index: int
    """PortAudio's; sources of a sound server are numbered behind PortAudio's devices."""
    name: str
    host_api: str
    channels: int
    default_rate: int
    rates: tuple[int, ...] = ()
    """Those of `RATES` at which it can be opened; empty where that was not asked."""
    is_default: bool = False
    source: str | None = None
    """The sound server's name for it; None for PortAudio's own devices."""
    portaudio_index: int = -1
    """The device that PortAudio opens for it."""
    channel_map: tuple[int, ...] = ()
    """Where each channel of a sound server's source lies, as libpulse numbers positions."""


def portaudio() -> Any:
    """The module sounddevice. UserError if PortAudio is not there."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise UserError(
            "PortAudio is missing, without which no microphone can be heard: install libportaudio2 "
            "(Debian, Ubuntu) or portaudio (Fedora, Arch, Homebrew)"
        ) from error
    return sounddevice


def list_inputs(*, rates: bool = True) -> list[InputDevice]:
    """All inputs, PortAudio's first. `rates` asks each device, which takes a moment.

    UserError if PortAudio is missing. The list is PortAudio's of when it was last initialised;
    see `reinitialise`.
    """
    sd = portaudio()
    devices: list[InputDevice] = []
    apis = [api["name"] for api in sd.query_hostapis()]
    default = int(sd.default.device[0])
    server: int | None = None
    everything = list(sd.query_devices())
    for index, device in enumerate(everything):
        if device["max_input_channels"] < 1:
            continue
        devices.append(
            InputDevice(
                index=index,
                name=device["name"],
                host_api=apis[device["hostapi"]],
                channels=device["max_input_channels"],
                default_rate=round(device["default_samplerate"]),
                rates=_rates(sd, index) if rates else (),
                is_default=index == default,
                portaudio_index=index,
            )
        )
        if device["name"] == "pulse" or (device["name"] == "default" and server is None):
            server = index
    sources = pulse.list_sources() if server is not None else None
    if server is None or not sources:
        return devices
    if any(s.is_default for s in sources):
        devices = [replace(d, is_default=False) for d in devices]
    return devices + [
        InputDevice(
            index=len(everything) + s.index,
            name=s.description,
            host_api="sound server",
            channels=len(s.channel_map),
            channel_map=s.channel_map,
            default_rate=s.rate,
            rates=RATES if rates else (),  # the server converts
            is_default=s.is_default,
            source=s.name,
            portaudio_index=server,
        )
        for s in sources
    ]


def find_input(spec: str | int | None, inputs: Sequence[InputDevice] | None = None) -> InputDevice:
    """The input that `spec` names: an index, a part of a name in any case (an exact name wins),
    or the default for None, "" and "default".

    UserError, naming what there is, if nothing or more than one thing fits.
    """
    devices = list(list_inputs(rates=False) if inputs is None else inputs)
    if not devices:
        raise UserError("no microphone was found: connect one, or start the sound server")
    if spec is None or spec in ("", "default"):
        chosen = [d for d in devices if d.is_default]
        if not chosen:
            raise UserError(
                f"no default microphone is set: choose a device among {_names(devices)}"
            )
        return chosen[0]
    if isinstance(spec, int) or spec.strip().isdecimal():
        found = [d for d in devices if d.index == int(spec)]
        if not found:
            raise UserError(f"there is no input {spec}: choose a device among {_names(devices)}")
        return found[0]
    wanted = spec.strip().casefold()
    exact = [d for d in devices if wanted in (d.name.casefold(), (d.source or "").casefold())]
    part = [
        d for d in devices if wanted in d.name.casefold() or wanted in (d.source or "").casefold()
    ]
    fits = exact or part
    if not fits:
        raise UserError(f'no input is named "{spec}": choose a device among {_names(devices)}')
    if len(fits) > 1 and len({d.name.casefold()[:31] for d in fits}) == 1:
        # Windows lists one microphone once for each of its interfaces (one cuts names at 31).
        api = next((d.host_api for d in devices if d.is_default), None)
        fits = [d for d in fits if d.host_api == api] or fits
    if len(fits) > 1:
        raise UserError(f'"{spec}" fits several inputs: choose one of {_names(fits)}')
    return fits[0]


@contextmanager
def heard_through(device: InputDevice) -> Iterator[int]:
    """The index for PortAudio to open, with the sound server told which source is meant."""
    if device.source is None:
        yield device.portaudio_index
        return
    before = os.environ.get("PULSE_SOURCE")
    os.environ["PULSE_SOURCE"] = device.source
    try:
        yield device.portaudio_index
    finally:
        if before is None:
            del os.environ["PULSE_SOURCE"]
        else:
            os.environ["PULSE_SOURCE"] = before


def reinitialise() -> None:
    """Have PortAudio look for devices again; all its streams must be closed.

    Takes some 50 ms and leaks about 12 kB under ALSA, so that it is not for every attempt: see
    `Rescan`.
    """
    sd = portaudio()
    sd._terminate()
    sd._initialize()


class Rescan:
    """Decides when PortAudio is to look for devices again, since it cannot do so each time."""

    _EAGER, _SELDOM = 10.0, 3600.0

    def __init__(self) -> None:
        self._state = _hardware_state()
        self._eager_until = float("-inf")
        self._last = time.monotonic()

    @property
    def news(self) -> bool:
        """Devices or the sound server came or went since the last look; where the system cannot
        be asked, nobody knows of any."""
        return _can_be_asked() and self._state != _hardware_state()

    def look(self) -> bool:
        """Reinitialise PortAudio if devices or the sound server came or went in the last ten
        seconds (they need a while to be ready), or once an hour. Whether it was done."""
        now, state = time.monotonic(), _hardware_state()
        if state != self._state:
            self._state = state
            self._eager_until = now + self._EAGER
        if now > self._eager_until and now - self._last < self._SELDOM:
            return False
        self._last = now
        reinitialise()
        return True


def _hardware_state() -> object:
    """Something that changes when devices or the sound server may have come or gone.

    Where the system cannot be asked (not Linux) it is different each time.
    """
    if not _can_be_asked():
        return object()
    try:
        listed = Path("/proc/asound/cards").read_text()
    except OSError:
        listed = ""
    return listed, pulse.socket_state()


def _can_be_asked() -> bool:
    return Path("/proc").is_dir()


def _rates(sd: Any, index: int) -> tuple[int, ...]:
    there = []
    for rate in RATES:
        try:
            sd.check_input_settings(device=index, channels=1, dtype="float32", samplerate=rate)
        except sd.PortAudioError:
            continue
        there.append(rate)
    return tuple(there)


def _names(devices: Sequence[InputDevice]) -> str:
    return ", ".join(f'{d.index} "{d.name}"' for d in devices)
