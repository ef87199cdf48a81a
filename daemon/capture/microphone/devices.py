"""Lists input devices and resolves the one that a user names."""

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
SOUND_SERVER = "sound server"
"""The host API of inputs that are sources of PulseAudio or PipeWire."""
_PLUGINS = ("pulse", "pipewire", "default")
"""ALSA's devices that lead to a sound server, the best one first."""


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
    is_monitor: bool = False
    """It records what an output plays."""

    @property
    def server_name(self) -> str:
        """The sound server's name if it is one of the server's sources, else ""."""
        return self.source or "" if self.host_api == SOUND_SERVER else ""


def portaudio() -> Any:
    """The module sounddevice, whose import initialises PortAudio.

    See `with_time_limit`.

    Raises: UserError if PortAudio is not installed.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise UserError(
            "PortAudio is missing, without which no microphone can be opened: install libportaudio2"
            " (Debian, Ubuntu) or portaudio (Fedora, Arch, Homebrew)"
        ) from error
    return sounddevice


def list_inputs() -> list[InputDevice]:
    """All inputs, PortAudio's first, as of the last initialisation.

    See `reinitialise`.

    A device that leads to a sound server stands for the server's default microphone, and is left
    out where the server has none.

    Raises: UserError if PortAudio is not installed.
    """
    sd = portaudio()
    apis = [api["name"] for api in sd.query_hostapis()]
    default = int(sd.default.device[0])
    everything = list(sd.query_devices())
    devices = [
        InputDevice(
            index=index,
            name=device["name"],
            host_api=apis[device["hostapi"]],
            channels=device["max_input_channels"],
            default_rate=round(device["default_samplerate"]),
            is_default=index == default,
            portaudio_index=index,
        )
        for index, device in enumerate(everything)
        if device["max_input_channels"] > 0
    ]
    plugins = {device.name: device for device in devices if device.name in _PLUGINS}
    plugin = next((plugins[name] for name in _PLUGINS if name in plugins), None)
    sources = None if plugin is None else pulse.list_sources()
    if plugin is None or sources is None:
        return devices
    served = [_served(source, len(everything), plugin.index) for source in sources]
    return with_server(devices, served)


def with_server(devices: Sequence[InputDevice], served: Sequence[InputDevice]) -> list[InputDevice]:
    """PortAudio's inputs and a sound server's, with a single default.

    No input leads to a monitor but by its name.
    """
    usual = default_source(served)
    known = []
    for device in devices:
        if device.name not in _PLUGINS:
            known.append(replace(device, is_default=False))
        elif usual is not None:
            known.append(
                replace(
                    usual,
                    index=device.index,
                    name=device.name,
                    host_api=device.host_api,
                    portaudio_index=device.portaudio_index,
                    is_default=False,
                )
            )
    return known + [replace(source, is_default=source is usual) for source in served]


def default_source(served: Sequence[InputDevice]) -> InputDevice | None:
    """The server's default source; its only microphone if that is a monitor."""
    microphones = [source for source in served if not source.is_monitor]
    chosen = [source for source in microphones if source.is_default]
    if not chosen and len(microphones) == 1:
        chosen = microphones
    return chosen[0] if chosen else None


def _served(source: pulse.PulseSource, first: int, plugin: int) -> InputDevice:
    return InputDevice(
        index=first + source.index,
        name=source.description,
        host_api=SOUND_SERVER,
        channels=len(source.channel_map),
        channel_map=source.channel_map,
        default_rate=source.rate,
        is_default=source.is_default,
        is_monitor=source.is_monitor,
        source=source.name,
        portaudio_index=plugin,
    )


def with_rates(device: InputDevice) -> InputDevice:
    """The device with the rates at which it can be opened; tries each."""
    if device.source is not None:
        return replace(device, rates=RATES)  # the server resamples
    sd = portaudio()
    possible = []
    for rate in RATES:
        try:
            sd.check_input_settings(
                device=device.portaudio_index, channels=1, dtype="float32", samplerate=rate
            )
        except sd.PortAudioError:
            continue
        possible.append(rate)
    return replace(device, rates=tuple(possible))


def find_input(spec: str | int | None, inputs: Sequence[InputDevice] | None = None) -> InputDevice:
    """The input that `spec` names.

    An index, a part of a name in any case (an exact name wins), or the default for None, "" and
    "default".

    Raises: UserError, naming the inputs that exist, if none or more than one fits.
    """
    devices = list(list_inputs() if inputs is None else inputs)
    if not devices:
        raise UserError("no microphone was found: connect one, or start the sound server")
    if spec is None or spec in ("", "default"):
        chosen = [d for d in devices if d.is_default]
        if all(d.is_monitor for d in devices):
            raise UserError(
                "no microphone was found, only monitors of outputs: connect a microphone, or set "
                f"device to one of {_names(devices)}"
            )
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
    names = [(d, {d.name.casefold(), d.server_name.casefold()}) for d in devices]
    exact = [d for d, each in names if wanted in each]
    part = [d for d, each in names if any(wanted in name for name in each)]
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
def routed_to(device: InputDevice, *, unmixed: bool = False) -> Iterator[int]:
    """Set the environment to the device's source; yields PortAudio's index.

    PulseAudio's ALSA plugin reads PULSE_SOURCE, PipeWire's reads PIPEWIRE_NODE. With `unmixed` the
    latter gives a source that could not be asked for (no pipewire-pulse) its own first channels.
    """
    wanted = {}
    if device.source is not None:
        wanted = dict.fromkeys(("PULSE_SOURCE", "PIPEWIRE_NODE"), device.source)
    elif unmixed:
        wanted = {"PIPEWIRE_ALSA": os.environ.get("PIPEWIRE_ALSA", "{ stream.dont-remix = true }")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield device.portaudio_index
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def reinitialise() -> None:
    """Have PortAudio look for devices again; all its streams must be closed.

    Takes some 50 ms and leaks about 12 kB under ALSA, so not every attempt may do it: see `Rescan`.
    """
    sd = portaudio()
    sd._terminate()
    sd._initialize()


class Rescan:
    """Decides when PortAudio looks for devices again."""

    _EAGER, _SELDOM = 10.0, 3600.0

    def __init__(self) -> None:
        self._state = _hardware_state()
        self._eager_until = float("-inf")
        self._last = time.monotonic()

    @property
    def changed(self) -> bool:
        """Whether devices or a sound server came or went since the last look.

        False where the system cannot be asked.
        """
        return _can_be_asked() and self._state != _hardware_state()

    def look(self) -> bool:
        """Reinitialise PortAudio if devices changed in the last ten seconds.

        Devices and the sound server need a while to be ready. Also done once an hour.

        Returns whether it was done.
        """
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
    """A value that changes when devices or a sound server come or go.

    Where the system cannot be asked (not Linux) it is different each time.
    """
    if not _can_be_asked():
        return object()
    try:
        listed = Path("/proc/asound/cards").read_text()
    except OSError:
        listed = ""
    return listed, pulse.socket_states()


def _can_be_asked() -> bool:
    return Path("/proc").is_dir()


def _names(devices: Sequence[InputDevice]) -> str:
    return ", ".join(f'{d.index} "{d.name}"' for d in devices)
