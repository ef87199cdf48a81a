"""A real PortAudio microphone: recorded, lost, and recorded again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.listening import TONE, Line, Listener, heard_tone
from support.virtual_mic import VirtualMic, missing_packages

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
    ),
]


@pytest.fixture
def mic(request: pytest.FixtureRequest) -> Iterator[VirtualMic]:
    with VirtualMic(getattr(request, "param", 1)) as running:
        yield running


one_and_four_channels = pytest.mark.parametrize("mic", [1, 4], indirect=True)
"""A source of one channel is opened by PortAudio, one of four by libpulse."""


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "tone.wav"
    samples = 0.5 * np.sin(2 * np.pi * TONE * np.arange(48000 * 60) / 48000)
    soundfile.write(path, samples.astype(np.float32), 48000)
    return path


@pytest.mark.parametrize(("rate", "opens_at"), [(0, 16000), (48000, 48000), (44100, 44100)])
def test_a_tone_is_captured_as_it_is_played(
    mic: VirtualMic, tone: Path, rate: int, opens_at: int
) -> None:
    with Listener(mic, device="virtualmic", rate=rate) as listener:
        inputs = listener.wait_for("inputs")["inputs"]
        assert ["VirtualMic", "vmic", True] in inputs
        opened = listener.wait_for("open")
        assert (opened["name"], opened["rate"]) == ("VirtualMic", opens_at)
        mic.play(tone)
        first = heard_tone(listener)
        last = listener.wait_for("heard", end=first["end"] + 2 * opens_at)
        assert last["rms"] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
        # Sound comes in real time: samples against the wall clock.
        seconds = (last["end"] - first["end"]) / opens_at
        assert seconds == pytest.approx(last["t"] - first["t"], abs=0.15)
        end = listener.stop()
        assert (end["lost"], end["error"]) == (0, None)


def test_a_reader_that_falls_behind_sheds_the_oldest_and_counts_it(
    mic: VirtualMic, tone: Path
) -> None:
    with Listener(mic, buffer_seconds=1.0) as listener:
        listener.wait_for("open")
        mic.play(tone)
        heard_tone(listener)
        listener.tell("block 3")
        gap = listener.wait_for("gap")
        assert gap["reason"] == "shed"
        assert gap["lost"] / 16000 == pytest.approx(2.0, abs=0.3)
        heard_tone(listener)
        end = listener.stop()
        assert end["shed"] == gap["lost"]
        assert end["never_arrived"] == 0


def test_a_pause_is_a_gap_of_its_length(mic: VirtualMic) -> None:
    with Listener(mic) as listener:
        listener.wait_for("heard")
        listener.tell("pause")
        paused = listener.wait_for("done")["t"]
        time.sleep(1.0)
        listener.tell("resume")
        resumed = listener.wait_for("done")["t"]
        gap = listener.wait_for("gap")
        assert gap["reason"] == "paused"
        assert gap["lost"] / 16000 == pytest.approx(resumed - paused, abs=0.1)
        listener.stop()


def check_recovery(
    listener: Listener, happened: float, returned: float, opened: Line, *, rate: int = 16000
) -> None:
    """Noticed within 1 s, back within 2 s, and the gap as long as it took."""
    lost = listener.wait_for("lost")
    assert lost["t"] - happened < 1.0
    back = listener.wait_for("returned", timeout=15)
    assert back["t"] - returned < 2.0
    tone = heard_tone(listener)
    gaps = [line for line in listener.told if line["what"] == "gap"]
    assert gaps[0]["reason"] == "device lost"
    # Stream time goes on as the clock does, outage included, to about a block.
    assert tone["end"] / rate == pytest.approx(tone["t"] - opened["t"], abs=0.25)


@one_and_four_channels
def test_a_killed_server_is_noticed_and_its_return(mic: VirtualMic, tone: Path) -> None:
    with Listener(mic, device="vmic", channel=1) as listener:
        opened = listener.wait_for("open")
        mic.play(tone)
        heard_tone(listener)
        happened = time.monotonic()
        mic.kill()
        time.sleep(1.5)
        mic.start()
        returned = time.monotonic()
        mic.play(tone)
        check_recovery(listener, happened, returned, opened)
        listener.stop()


@one_and_four_channels
def test_a_frozen_server_is_noticed_and_its_return(mic: VirtualMic, tone: Path) -> None:
    with Listener(mic, device="vmic", channel=1) as listener:
        opened = listener.wait_for("open")
        mic.play(tone)
        heard_tone(listener)
        mic.freeze()
        happened = time.monotonic()
        time.sleep(5.0)
        mic.cont()
        check_recovery(listener, happened, time.monotonic(), opened)
        end = listener.stop()
        assert end["oldest_callback"] > 3


@pytest.mark.timed
@one_and_four_channels
def test_a_source_that_goes_while_another_stays_is_a_loss(mic: VirtualMic, tone: Path) -> None:
    """The server moves the recording to the other source, and says nothing."""
    mic.add_source("other", "OtherMic")
    with Listener(mic, device="vmic", channel=1) as listener:
        opened = listener.wait_for("open")
        mic.play(tone)
        heard_tone(listener)
        mic.remove_source("vmic")
        happened = time.monotonic()
        time.sleep(2.0)
        mic.restore_source()
        check_recovery(listener, happened, time.monotonic(), opened)
        end = listener.stop()
        assert end["never_arrived"] / 16000 == pytest.approx(2.0, abs=1.0)


@one_and_four_channels
def test_stopping_while_the_server_is_frozen_does_not_hang(mic: VirtualMic) -> None:
    with Listener(mic, channel=1) as listener:
        listener.wait_for("heard")
        mic.freeze()
        listener.wait_for("lost")
        listener.tell("stop")
        assert listener.wait_for("stopped")["took"] < 1.5
        listener.wait_for("end")
        since = time.monotonic()
        assert listener.status() == 0
        assert time.monotonic() - since < 2
        mic.cont()


def test_a_server_absent_at_the_start_is_waited_for(mic: VirtualMic, tone: Path) -> None:
    mic.kill()
    with Listener(mic, device="vmic", wait=True) as listener:
        assert "waiting for it" in listener.wait_for("waiting")["text"]
        time.sleep(1.0)
        mic.start()
        returned = time.monotonic()
        opened = listener.wait_for("open")
        assert opened["t"] - returned < 2.0
        mic.play(tone)
        heard_tone(listener)
        listener.stop()


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"device": "nosuch"}, 'no input is named "nosuch": choose a device among'),
        ({"device": "virtual"}, '"virtual" fits several inputs: choose one of'),
        ({"device": 99}, "there is no input 99"),
        ({"device": "vmic", "channel": 2}, '"VirtualMic" has 1 channel, not channel 2'),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(
    mic: VirtualMic, wishes: dict[str, Any], sentence: str
) -> None:
    with Listener(mic, **wishes) as listener:
        assert sentence in listener.wait_for("refused")["text"]
        assert listener.status() == 2


def test_no_server_and_no_waiting_is_one_sentence(mic: VirtualMic) -> None:
    mic.kill()
    with Listener(mic) as listener:
        assert "no microphone was found" in listener.wait_for("refused")["text"]
        assert listener.status() == 2
