"""Which input a user means, and what is said if none or several fit."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from daemon.base.errors import UserError
from daemon.capture.microphone.devices import InputDevice, find_input, routed_to, with_server

INPUTS = [
    InputDevice(0, "HDA Intel: ALC257 (hw:0,0)", "ALSA", 2, 44100),
    InputDevice(3, "Blue Yeti: USB Audio (hw:1,0)", "ALSA", 2, 48000),
    InputDevice(4, "pulse", "ALSA", 32, 44100, is_default=True),
    InputDevice(9, "Yeti", "sound server", 1, 48000, source="alsa_input.usb-blue"),
    InputDevice(10, "Monitor of HDA", "sound server", 2, 48000, source="alsa_output.hda.monitor"),
]


@pytest.mark.parametrize(
    ("spec", "index"),
    [
        (None, 4),
        ("", 4),
        ("default", 4),
        (3, 3),
        ("3", 3),
        ("blue yeti", 3),
        ("yeti", 9),  # exact, although a part of another
        ("ALSA_INPUT.usb-blue", 9),
        ("monitor", 10),
        ("alc257", 0),
    ],
)
def test_what_is_found(spec: str | int | None, index: int) -> None:
    assert find_input(spec, INPUTS).index == index


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("hda", '"hda" fits several inputs: choose one of 0 "HDA Intel'),
        ("webcam", 'no input is named "webcam": choose a device among 0 "HDA Intel'),
        (7, "there is no input 7: choose a device among 0"),
    ],
)
def test_what_is_not_found_names_what_there_is(spec: str | int, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        find_input(spec, INPUTS)
    assert str(caught.value).startswith(sentence)
    assert caught.value.status == 2


def test_no_device_at_all() -> None:
    with pytest.raises(UserError, match="no microphone was found"):
        find_input(None, [])
    with pytest.raises(UserError, match="no default microphone is set"):
        find_input(None, INPUTS[:1])


def test_one_microphone_under_several_interfaces_of_windows_is_one() -> None:
    name = "Microphone (Realtek High Definition Audio)"
    inputs = [
        InputDevice(1, name[:31], "MME", 2, 44100, is_default=True),
        InputDevice(5, name, "Windows DirectSound", 2, 44100),
        InputDevice(9, name, "Windows WASAPI", 2, 48000),
    ]
    assert find_input("realtek", inputs).index == 1


def test_a_missing_portaudio_is_one_sentence_with_the_fix() -> None:
    """No library can be found, as on a machine without PortAudio."""
    program = (
        "import ctypes.util\n"
        "ctypes.util.find_library = lambda name: None\n"
        "import sys, types\n"
        "sys.modules['_sounddevice_data'] = None\n"
        "from daemon.capture.microphone.devices import list_inputs\n"
        "from daemon.base.errors import UserError\n"
        "try:\n"
        "    list_inputs()\n"
        "except UserError as error:\n"
        "    print(error, error.status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "install libportaudio2" in done.stdout
    assert done.stdout.strip().endswith("2")


def test_listening_to_recordings_needs_no_portaudio() -> None:
    program = (
        "import sys\n"
        "import daemon.capture.recording.recording, daemon.capture.recording.feeder\n"
        "import daemon.capture.microphone.microphone\n"
        "print('sounddevice' in sys.modules, 'pulsectl' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


MICROPHONE = InputDevice(
    7, "Yeti", "sound server", 1, 48000, source="alsa_input.yeti", is_default=True
)
WEBCAM = InputDevice(8, "Webcam", "sound server", 1, 48000, source="alsa_input.webcam")
MONITOR = InputDevice(
    9, "Monitor of HDA", "sound server", 2, 48000, source="hda.monitor", is_monitor=True
)
PORTAUDIO = [
    InputDevice(0, "hw:0,0", "ALSA", 2, 44100),
    InputDevice(1, "pipewire", "ALSA", 64, 44100, portaudio_index=1),
    InputDevice(2, "default", "ALSA", 64, 44100, is_default=True, portaudio_index=2),
]


def test_the_server_s_devices_stand_for_its_default_microphone() -> None:
    inputs = with_server(PORTAUDIO, [WEBCAM, MICROPHONE, MONITOR])
    assert [d.name for d in inputs if d.is_default] == ["Yeti"]
    chosen = find_input("pipewire", inputs)
    assert (chosen.index, chosen.name, chosen.portaudio_index) == (1, "pipewire", 1)
    assert (chosen.source, chosen.channels, chosen.host_api) == ("alsa_input.yeti", 1, "ALSA")
    assert find_input("alsa_input.yeti", inputs).name == "Yeti", "one input, not three"


@pytest.mark.parametrize("default", [True, False])
def test_a_monitor_is_chosen_by_its_name_alone(default: bool) -> None:
    monitor = replace(MONITOR, is_default=default)
    inputs = with_server(PORTAUDIO[1:], [monitor])
    assert [d.name for d in inputs] == ["Monitor of HDA"], "no device leads to it by another name"
    with pytest.raises(UserError, match="no microphone was found, only monitors of outputs"):
        find_input(None, inputs)
    assert find_input("monitor of hda", inputs).source == "hda.monitor"
    only = replace(MICROPHONE, is_default=False)
    assert find_input(None, with_server(PORTAUDIO, [monitor, only])).name == "Yeti"
    with pytest.raises(UserError, match="no default microphone is set"):
        find_input(None, with_server(PORTAUDIO, [monitor, only, WEBCAM]))


def test_both_plugins_are_given_the_source_and_the_environment_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PULSE_SOURCE", "before")
    monkeypatch.delenv("PIPEWIRE_NODE", raising=False)
    with routed_to(MICROPHONE) as index:
        assert index == MICROPHONE.portaudio_index
        named = (os.environ["PULSE_SOURCE"], os.environ["PIPEWIRE_NODE"])
        assert named == ("alsa_input.yeti", "alsa_input.yeti")
    assert os.environ["PULSE_SOURCE"] == "before"
    assert "PIPEWIRE_NODE" not in os.environ
