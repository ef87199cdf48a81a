"""Twenty-four hours of sound in one process: memory and speed stay."""

from __future__ import annotations

import io
import json
import os
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MEGABYTE = 1 << 20
RATE = 16000
LOOP_SECONDS = 600.0
Sound = NDArray[np.float32]


# ---- what is heard --------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A sound that is sent over and over through a pipe, as by a recorder."""

    name: str
    rate: int
    frames: NDArray[np.int16]
    """Shape (n, channels)."""

    def wav(self, seconds: float) -> Iterator[bytes]:
        """A WAV of so many seconds, in pieces. Its length is not in its header."""
        channels = self.frames.shape[1]
        yield struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, channels, self.rate),
            *(self.rate * channels * 2, channels * 2, 16, b"data", 0xFFFFFFFF),
        )
        left, raw = self.samples(seconds) * channels * 2, self.frames.tobytes()
        while left:
            piece = raw[:left]
            yield piece
            left -= len(piece)

    def samples(self, seconds: float) -> int:
        return round(seconds * self.rate)


def sources() -> list[Source]:
    """Four streams: words, words in noise, other talk, and noise.

    Real ones where they are at hand, else the demo recording and drawn noise.
    """
    demo, rate = soundfile.read(str(files("daemon") / "bundled" / "demo.flac"), dtype="float32")
    assert rate == RATE
    if DATA.is_dir():
        words, talk = clips("speech_commands", 1.0), clips("other_speech", 0.5)
        noise = np.concatenate(
            [soundfile.read(path, dtype="float32")[0] for path in sorted(DATA.glob("noise/*.flac"))]
        )
    else:
        rng = np.random.default_rng(1)
        noise = 0.02 * rng.standard_normal(240 * RATE).astype(np.float32)
        noise[: 120 * RATE] *= np.repeat(rng.uniform(0, 3, 120), RATE)
        words, talk = np.tile(demo, 10), np.roll(demo, 7 * RATE)[::-1].copy()
    in_noise = words + np.resize(0.5 * noise, words.shape)
    return [
        Source("demo", RATE, pcm(demo)),
        Source("words-in-noise", 44100, pcm(np.column_stack([in_noise, in_noise]), 44100)),
        Source("talk", 48000, pcm(talk, 48000)),
        Source("noise", RATE, pcm(noise)),
    ]


def clips(name: str, pause: float) -> Sound:
    """Ten minutes of a set's clips, drawn, with pauses between them."""
    import pyarrow.parquet as pq

    rows = pq.read_table(DATA / name / "train.parquet", columns=["audio"])["audio"]
    rng = np.random.default_rng(4)
    parts: list[Sound] = []
    length = 0
    for number in rng.permutation(len(rows)):
        sound, rate = soundfile.read(
            io.BytesIO(rows[int(number)]["bytes"].as_py()), dtype="float32"
        )
        assert rate == RATE
        parts += [sound, np.zeros(round(pause * RATE), np.float32)]
        length += len(parts[-2]) + len(parts[-1])
        if length > LOOP_SECONDS * RATE:
            break
    return np.concatenate(parts)


def pcm(sound: Sound, rate: int = RATE) -> NDArray[np.int16]:
    if rate != RATE:
        sound = soxr.resample(sound, RATE, rate)
    whole = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    return whole.reshape(len(whole), -1)


# ---- the process ----------------------------------------------------------------------------


@dataclass
class Hour:
    """The process at an hour's end, and its lines since the last one."""

    resident: int
    threads: int
    descriptors: int
    took: float
    latencies: list[float] = field(repr=False)

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.latencies, percent))

    def __str__(self) -> str:
        return (
            f"{self.resident / MEGABYTE:.1f} MB, {self.threads} threads, {self.descriptors} "
            f"descriptors, latency p50 {self.percentile(50):.0f} ms, p99 {self.percentile(99):.0f} "
            f"ms, {len(self.latencies)} windows classified, in {self.took:.0f} s"
        )


class Listening:
    """A replay of pipes at full speed, looked at once an hour of sound."""

    def __init__(self, folder: Path, heard: list[Source], seconds: float) -> None:
        self._writers = []
        names = [f"{source.name}.wav" for source in heard]
        for name, source in zip(names, heard, strict=True):
            os.mkfifo(folder / name)
            self._writers.append(
                threading.Thread(
                    target=self._write, args=(folder / name, source, seconds), daemon=True
                )
            )
        self.errors = (folder / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "daemon", "replay", *names),
                *("--speed", "max", "--headless", "--jsonl", "-"),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "INTENTD_MODEL__THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        for writer in self._writers:
            writer.start()

    @staticmethod
    def _write(path: Path, source: Source, seconds: float) -> None:
        with path.open("wb", buffering=0) as pipe:
            for piece in source.wav(seconds):
                view = memoryview(piece)
                while view:
                    view = view[pipe.write(view) :]

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        return map(json.loads, self.process.stdout)

    def look(self, took: float, latencies: list[float]) -> Hour:
        place = Path(f"/proc/{self.process.pid}")
        pages = int((place / "statm").read_text().split()[1])
        return Hour(
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(list((place / "task").iterdir())),
            len(list((place / "fd").iterdir())),
            took,
            latencies,
        )


def listen(folder: Path, hours: float, step: float) -> None:
    """`hours` of sound in all; looked at every `step` hours."""
    heard = sources()
    seconds = 3600 * hours / len(heard)
    listening = Listening(folder, heard, seconds)
    found: list[Hour] = []
    latencies: list[float] = []
    ends: dict[str, float] = {}
    predictions: dict[str, int] = dict.fromkeys((f"{s.name}.wav" for s in heard), 0)
    summaries: dict[str, dict[str, Any]] = {}
    begun = time.monotonic()
    # The last look comes a little early, since streams end one after the other.
    due = [*np.arange(step, hours - step / 2, step), hours - min(step / 4, 0.05)]
    try:
        for line in listening.lines():
            stream = line["stream"]
            if line["type"] == "summary":
                summaries[stream] = line
            if line["type"] != "prediction":
                continue
            predictions[stream] += 1
            ends[stream] = line["end"]
            if line["latency_ms"] is not None:
                latencies.append(line["latency_ms"])
            if due and sum(ends.values()) >= 3600 * due[0]:
                now = time.monotonic()
                found.append(listening.look(now - begun, latencies))
                print(f"after {due.pop(0):.2f} h of sound: {found[-1]}", flush=True)
                begun, latencies = now, []
        assert listening.process.wait(60) == 0
        listening.errors.seek(0)
        assert listening.errors.read() == ""
    finally:
        listening.process.kill()
        listening.process.wait()
        listening.errors.close()
    assert not due

    for source in heard:
        summary = summaries[f"{source.name}.wav"]
        assert summary["samples_captured"] == source.samples(seconds)
        assert summary["samples_captured"] == (
            summary["samples_classified"] + summary["samples_gated"]
        )
        assert summary["samples_lost"] == 0
        assert summary["windows"] == predictions[f"{source.name}.wav"]
        assert summary["windows"] == pytest.approx(seconds / 0.24, abs=2)
    for summary in summaries.values():
        print(json.dumps(summary | {"top": None}), flush=True)

    first, last = found[0], found[-1]
    assert last.resident - first.resident < 10 * MEGABYTE
    assert {hour.threads for hour in found} == {first.threads}
    assert {hour.descriptors for hour in found} == {first.descriptors}
    # At full speed latency is what waits over how fast it is worked off, so that an hour in which
    # other work slows the machine is one of higher latency. What remains must not rise.
    quarter = max(1, len(found) // 4)
    early = statistics.median(hour.percentile(99) / hour.took for hour in found[:quarter])
    late = statistics.median(hour.percentile(99) / hour.took for hour in found[-quarter:])
    assert late < 1.25 * early


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_day_of_sound_leaves_no_trace(tmp_path: Path) -> None:
    listen(tmp_path, hours=24.0, step=1.0)
