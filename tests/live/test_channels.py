"""Channels of a real microphone are recorded as the device has them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.hearing import Hearing
from support.virtual_mic import VirtualMic
from support.virtual_pipewire import VirtualPipeWire, missing_pipewire

pytestmark = [
    pytest.mark.timed,  # a busy machine loses sound
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_pipewire()), reason=f"needs the packages {' '.join(missing_pipewire())}"
    ),
]
RATE = 48000
MEASURE = """
import json, sys, time
import numpy as np
from daemon.base.stderr import discard_native_stderr
from daemon.capture.microphone.microphone import Microphone
found = []
for channel in json.loads(sys.argv[1]):
    with discard_native_stderr():
        mic = Microphone(sys.argv[2] or None, channel=channel)
        mic.start()
        parts, until = [], time.monotonic() + 1.0
        while time.monotonic() < until:
            time.sleep(0.05)
            while (chunk := mic.ring.read(mic.ring.capacity)) is not None:
                parts.append(chunk.samples)
        mic.stop()
    samples = np.concatenate(parts)[-mic.info.rate // 2 :]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))[:, None], axis=0))
    frequencies = np.fft.rfftfreq(len(samples), 1 / mic.info.rate)
    peaks = [float(frequencies[k]) for k in spectrum.argmax(axis=0)]
    found.append([peaks, np.sqrt((samples**2).mean(axis=0)).tolist()])
print(json.dumps(found))
"""


def tones(path: Path, channels: int) -> Path:
    """Channel n from 2 up holds a tone of 300 + 100 n Hz, peak -6 dBFS.

    Channel 1 is silent.
    """
    t = np.arange(RATE * 20) / RATE
    samples = np.stack(
        [0.5 * (n > 1) * np.sin(2 * np.pi * (300 + 100 * n) * t) for n in range(1, channels + 1)],
        axis=1,
    )
    soundfile.write(path, samples, RATE)
    return path


def measure(
    mic: VirtualMic,
    sound: Path,
    *channels: int | str,
    device: str = "",
    env: Mapping[str, str] | None = None,
) -> list[tuple[list[float], list[float]]]:
    """Strongest frequencies and RMS in the ring, by setting of the channel.

    `sound` is played meanwhile; a setting of "mix" gives all channels.
    """
    player = mic.play(sound)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(channels), device],
        env=mic.env | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    player.kill()
    assert done.returncode == 0, done.stderr
    return [(pitches, levels) for pitches, levels in json.loads(done.stdout)]


@pytest.mark.parametrize("channels", [2, 3, 4, 8, 32])
def test_each_channel_is_captured_unmixed(tmp_path: Path, channels: int) -> None:
    with VirtualMic(channels) as mic:
        sound = tones(tmp_path / "tones.wav", channels)
        first, last, mixed = measure(mic, sound, 1, channels, "mix")
        assert first[1][0] < 1e-4, "another channel is mixed into the silent one"
        assert last[0] == pytest.approx([300 + 100 * channels], abs=3)
        assert last[1] == pytest.approx([0.5 / np.sqrt(2)], rel=0.02)
        pitches, levels = mixed
        assert len(pitches) == channels
        assert pitches[1:] == pytest.approx([300 + 100 * n for n in range(2, channels + 1)], abs=3)
        assert levels[0] < 1e-4
        assert levels[1:] == pytest.approx([0.5 / np.sqrt(2)] * (channels - 1), rel=0.02)


@pytest.mark.parametrize(
    ("server", "device"),
    [
        (VirtualMic, "pulse"),
        (VirtualMic, "default"),
        (VirtualPipeWire, "pulse"),
        (partial(VirtualPipeWire, plugin=True), "pipewire"),
        (partial(VirtualPipeWire, plugin=True), "default"),
    ],
)
def test_each_channel_is_captured_unmixed_if_the_device_is_the_server(
    tmp_path: Path, server: Callable[[int], VirtualMic], device: str
) -> None:
    with server(4) as mic:
        sound = tones(tmp_path / "tones.wav", 4)
        first, second, last, mixed = measure(mic, sound, 1, 2, 4, "mix", device=device)
        assert first[1][0] < 1e-4, "another channel is mixed into the silent one"
        assert second[0] == pytest.approx([500], abs=3)
        assert last[0] == pytest.approx([700], abs=3)
        for _, levels in (second, last):
            assert levels == pytest.approx([0.5 / np.sqrt(2)], rel=0.02)
        assert len(mixed[0]) == 4


def test_a_channel_is_captured_unmixed_where_the_server_cannot_be_asked(tmp_path: Path) -> None:
    with VirtualPipeWire(4, plugin=True) as mic:
        sound = tones(tmp_path / "tones.wav", 4)
        nowhere = {"PULSE_SERVER": f"unix:{tmp_path}/nothing"}
        first, third = measure(mic, sound, 1, 3, env=nowhere)
        assert first[1][0] < 1e-4, "another channel is mixed into the silent one"
        assert third[0] == pytest.approx([600], abs=3)
        assert third[1] == pytest.approx([0.5 / np.sqrt(2)], rel=0.02)
        ((_, (mixed,)),) = measure(mic, sound, "mix", env=nowhere)
        assert mixed > 0.1


def test_channels_that_cancel_are_reported_once_and_not_as_silence(
    tmp_path: Path, word_model: Path
) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE * 30)
    soundfile.write(tmp_path / "inverted.wav", np.stack([noise, -noise], axis=1), RATE)
    with VirtualMic(2) as mic, Hearing(mic, tmp_path, "--model", str(word_model)) as hearing:
        mic.play(tmp_path / "inverted.wav")
        hearing.wait_to_say("the channels cancel each other", timeout=30)
        hearing.wait_for("12 s", lambda line: line.get("end", 0) > 12, timeout=20)
        hearing.end()
        assert len([line for line in hearing.said() if "warning" in line]) == 1


def test_devices_names_the_number_of_channels_and_an_impossible_one_is_a_sentence() -> None:
    with VirtualMic(4) as mic:
        run = [sys.executable, "-m", "daemon"]
        listed = subprocess.run(
            [*run, "devices"], env=mic.env, capture_output=True, text=True, timeout=60, check=True
        )
        (line,) = [line for line in listed.stdout.splitlines() if "VirtualMic" in line]
        assert "4 channels" in line
        refused = subprocess.run(
            [*run, "live", "--headless", "--set", "audio.channel=5"],
            env=mic.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 2
        assert (
            '"VirtualMic" has channels 1 to 4, not channel 5: set channel to one of them or to mix'
            in " ".join(refused.stderr.split())
        )
