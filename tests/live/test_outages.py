"""Outages of a real microphone, also with the whole daemon beside it.

Once each in the ordinary run; twenty in a row, with figures, in `make soak`.
"""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hearing import Footprint, Hearing, Told, write_word
from support.virtual_mic import VirtualMic, missing_packages
from support.virtual_pipewire import VirtualPipeWire, missing_pipewire

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
    ),
]
MANY = 20
MEGABYTE = 1 << 20
needs_pipewire = pytest.param(
    VirtualPipeWire,
    marks=pytest.mark.skipif(
        bool(missing_pipewire()), reason=f"needs the packages {' '.join(missing_pipewire())}"
    ),
)
SPOKEN = ("go", "one")
"""The word during which the microphone is lost, and the one that is spoken after its return."""


@pytest.fixture
def mic(request: pytest.FixtureRequest) -> Iterator[VirtualMic]:
    """PulseAudio, or the server that a test names."""
    with getattr(request, "param", VirtualMic)() as running:
        running.add_source("other", "OtherMic")
        yield running


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("words")
    return {word: write_word(folder / f"{word}.wav", word) for word in SPOKEN}


def kill(mic: VirtualMic) -> Callable[[], None]:
    mic.kill()
    return mic.start


def freeze(mic: VirtualMic) -> Callable[[], None]:
    mic.freeze()
    return mic.cont


def remove(mic: VirtualMic) -> Callable[[], None]:
    """Remove the source; the server moves the stream to another one."""
    mic.remove_source("vmic")
    return mic.restore_source


KINDS = {"kill": (kill, 1.0), "freeze": (freeze, 5.0), "remove": (remove, 1.5)}
"""How the microphone goes, and for how many seconds; what is returned brings it back."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Seconds from what happened to what was told of it."""

    noticed: float
    back: float
    """From the return to the first window that begins after it."""
    latency: float
    """Of the windows of the word spoken after it, in ms; their median."""


def survive(hearing: Hearing, mic: VirtualMic, kind: str, words: dict[str, Path]) -> Outage:
    """One outage in the middle of a word, and a word after it."""
    go_away, seconds = KINDS[kind]
    mark = hearing.mark()
    player = mic.play(words[SPOKEN[0]])
    time.sleep(0.7)  # the word has begun
    happened = time.monotonic()
    come_back = go_away(mic)
    time.sleep(seconds)
    lost = hearing.wait_to_say("is lost", timeout=1.0, after=mark)
    mark = hearing.mark()
    come_back()
    returned = time.monotonic()
    gap = hearing.wait_for("gap", lambda line: line["type"] == "gap", after=mark).line
    assert gap["reason"] == "device lost"
    # By the clock, from the last block to the first one.
    assert gap["end"] - gap["start"] == pytest.approx(returned - happened, abs=1.5)
    window = hearing.wait_for("window after it", lambda line: is_after(line, gap["end"]))
    hearing.wait_to_say("is back", after=mark)
    player.wait(10)
    word, latency = say(hearing, mic, words[SPOKEN[1]])
    assert word.line["start"] >= gap["end"]
    return Outage(lost.at - happened, window.at - returned, latency)


def is_after(line: dict[str, object], end: float) -> bool:
    start = line.get("start", -1.0)
    assert isinstance(start, float)
    return line["type"] == "prediction" and start >= end


def say(hearing: Hearing, mic: VirtualMic, word: Path) -> tuple[Told, float]:
    """Speak a word: its event, and the median latency of its windows."""
    mark = hearing.mark()
    player = mic.play(word)
    event = hearing.wait_for(
        word.stem, lambda line: line["type"] == "event" and line["intent"] == word.stem, after=mark
    )
    player.wait(10)
    heard = [t.line["latency_ms"] for t in hearing.told[mark:] if t.line["type"] == "prediction"]
    return event, statistics.median(ms for ms in heard if ms is not None)


def check_times(outages: list[Outage]) -> None:
    for number, outage in enumerate(outages):
        assert outage.noticed < 1.0, (number, outage)
        assert outage.back < 2.0, (number, outage)


def test_a_day_of_troubles(mic: VirtualMic, words: dict[str, Path], tmp_path: Path) -> None:
    """No server at the start; then it is killed, frozen, and a source removed."""
    mic.kill()
    with Hearing(mic, tmp_path, "--device", "vmic", "--wait-for-device") as hearing:
        hearing.wait_to_say("waiting for it", timeout=120)
        time.sleep(1.0)
        mark = hearing.mark()
        mic.start()
        begun = time.monotonic()
        first = hearing.wait_for("window", lambda line: line["type"] == "prediction", after=mark)
        assert first.at - begun < 2.0
        mic.add_source("other", "OtherMic")
        say(hearing, mic, words[SPOKEN[1]])
        check_times([survive(hearing, mic, kind, words) for kind in KINDS])
        # Nothing but what intentd itself has to say: sound libraries print a lot on such a day.
        assert all(line.startswith("intentd: ") for line in hearing.said())
        # An outage is neither latency nor a model that is too slow.
        assert not [line for line in hearing.said() if "too slow" in line]
        summary = hearing.end()[-1]
        assert summary["latency_ms"]["p99"] < 1000
        assert summary["samples_lost"] > 7 * 16000
        assert summary["seconds"] == pytest.approx(time.monotonic() - begun, abs=4.0)


@pytest.mark.timed
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_a_stopped_process_does_not_blame_the_model(mic: VirtualMic, tmp_path: Path) -> None:
    """What waited during the stop is processed or lost.

    It is no fault of the model's.
    """
    with Hearing(mic, tmp_path, "--device", "vmic") as hearing:
        hearing.wait_for("window", lambda line: line["type"] == "prediction", timeout=120)
        for seconds in (2.5, 6.0):
            mark = hearing.mark()
            hearing.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            hearing.process.send_signal(signal.SIGCONT)
            for _ in range(12):
                mark = hearing.mark()
                hearing.wait_for("window", lambda line: line["type"] == "prediction", after=mark)
        assert not [line for line in hearing.said() if "too slow" in line], hearing.said()
        hearing.end()


@pytest.mark.soak
@pytest.mark.parametrize(
    "mic", [VirtualMic, needs_pipewire], indirect=True, ids=["pulseaudio", "pipewire"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_many_outages_in_a_row(
    kind: str, mic: VirtualMic, words: dict[str, Path], tmp_path: Path
) -> None:
    with Hearing(mic, tmp_path, "--device", "vmic") as hearing:
        hearing.wait_for("window", lambda line: line["type"] == "prediction", timeout=120)
        _, usual = say(hearing, mic, words[SPOKEN[1]])
        survive(hearing, mic, kind, words)  # the first one loads what only outages need
        before = settled(hearing)
        print(f"\n{kind}: {before} at the start, latency {usual:.1f} ms")
        outages = []
        for number in range(MANY):
            if kind == "kill":
                # A server that was started again knows one source only.
                mic.add_source("other", f"OtherMic{number}")
            outages.append(survive(hearing, mic, kind, words))
            outage = outages[-1]
            print(
                f"{kind} {number + 1}: noticed after {outage.noticed:.2f} s, first window "
                f"{outage.back:.2f} s after the return, latency {outage.latency:.1f} ms; "
                f"{hearing.footprint()}",
                flush=True,
            )
        after = settled(hearing, before)
        print(f"{kind}: {after} at the end")
        summary = hearing.end()[-1]
        print({key: value for key, value in summary.items() if key != "top"})
    check_times(outages)
    assert summary["events"] >= MANY + 1
    assert after.threads == before.threads
    assert after.descriptors == before.descriptors
    assert after.resident - before.resident < 10 * MEGABYTE
    late = statistics.median(outage.latency for outage in outages[-MANY // 4 :])
    assert late < 1.5 * usual + 5.0


@pytest.mark.soak
def test_many_starts_without_a_server(
    mic: VirtualMic, words: dict[str, Path], tmp_path: Path
) -> None:
    """Each start is a process, so that their memory can be compared.

    It is the same after the wait as after a start with the server there.
    """
    for name in ("first", "second"):  # the first finds out which backend is the fastest
        (folder := tmp_path / name).mkdir()
        with Hearing(mic, folder, "--device", "vmic") as hearing:
            hearing.wait_for("window", lambda line: line["type"] == "prediction", timeout=120)
            say(hearing, mic, words[SPOKEN[1]])
            usual = settled(hearing)
            hearing.end()
    print(f"\nabsent: {usual} when it was there")
    for number in range(MANY):
        (folder := tmp_path / str(number)).mkdir()
        mic.kill()
        with Hearing(mic, folder, "--device", "vmic", "--wait-for-device") as hearing:
            hearing.wait_to_say("waiting for it", timeout=120)
            waiting = hearing.footprint()
            time.sleep(3.0)
            waited = settled(hearing, waiting)
            mark = hearing.mark()
            mic.start()
            returned = time.monotonic()
            hearing.wait_for("window", lambda line: line["type"] == "prediction", after=mark)
            opened = time.monotonic() - returned
            assert opened < 2.0
            say(hearing, mic, words[SPOKEN[1]])
            after = settled(hearing, usual)
            hearing.end()
        print(f"absent {number + 1}: first window {opened:.2f} s after the return; {after}")
        assert waited.threads == waiting.threads and waited.descriptors == waiting.descriptors
        assert waited.resident - waiting.resident < 10 * MEGABYTE
        assert (after.threads, after.descriptors) == (usual.threads, usual.descriptors)
        assert after.resident - usual.resident < 10 * MEGABYTE


def settled(hearing: Hearing, like: Footprint | None = None) -> Footprint:
    """Wait until what ends by itself has ended.

    At once where it is `like` before, else after five seconds at most.
    """
    deadline = time.monotonic() + 5.0
    while True:
        time.sleep(0.5)
        now = hearing.footprint()
        if time.monotonic() > deadline:
            return now
        if like and (now.threads, now.descriptors) == (like.threads, like.descriptors):
            return now
