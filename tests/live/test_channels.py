"""Channels of a real multichannel microphone: each is heard as the device has it, unmixed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.virtual_mic import VirtualMic, missing_packages

pytestmark = [
    pytest.mark.timed,  # a busy machine loses sound
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
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
        mic = Microphone(channel=channel)
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
    """Channel n from 2 up holds a tone of 300 + 100 n Hz, peak -6 dBFS; channel 1 is silent."""
    t = np.arange(RATE * 20) / RATE
    samples = np.stack(
        [0.5 * (n > 1) * np.sin(2 * np.pi * (300 + 100 * n) * t) for n in range(1, channels + 1)],
        axis=1,
    )
    soundfile.write(path, samples, RATE)
    return path


def measure(
    mic: VirtualMic, sound: Path, *channels: int | str
) -> list[tuple[list[float], list[float]]]:
    """Strongest frequencies and RMS of what the ring gives, by setting of the channel.

    `sound` is played meanwhile; a setting of "mix" gives all channels.
    """
    player = mic.play(sound)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(channels)],
        env=mic.env,
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
