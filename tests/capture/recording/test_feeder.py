"""The feeder: deadlines, rings that wait, pipes that hold up nobody."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.capture_helpers import noise, read_all, write

from daemon.capture.recording.feeder import Feeder
from daemon.capture.recording.recording import Recording
from daemon.capture.ring import Chunk
from daemon.capture.wake import Wake

pytestmark = pytest.mark.timed


def run(
    recordings: list[Recording], feeder: Feeder, wake: Wake, timeout: float = 30.0
) -> list[list[Chunk]]:
    """A worker's loop: read whatever is there, sleep until woken."""
    heard: list[list[Chunk]] = [[] for _ in recordings]
    feeder.start()
    deadline = time.monotonic() + timeout
    while True:
        for chunks, recording in zip(heard, recordings, strict=True):
            while (chunk := recording.ring.read(1 << 20)) is not None:
                chunks.append(chunk)
        if all(r.ring.finished for r in recordings):
            break
        assert time.monotonic() < deadline, "the feeder hangs"
        wake.wait(0.5)
    feeder.stop()
    return heard


def samples(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([c.mono for c in chunks])


@pytest.mark.parametrize("block", [64, 5000, None])
@pytest.mark.parametrize("speed", [None, 20.0])
def test_several_recordings_come_whole_at_any_block_and_speed(
    tmp_path: Path, block: int | None, speed: float | None
) -> None:
    paths = [
        write(tmp_path / "a.wav", noise(40_000, 1, seed=1), 16000),
        write(tmp_path / "b.flac", noise(100_000, 2, seed=2), 44100),
        write(tmp_path / "c.wav", noise(10, 1, seed=3), 8000),
    ]
    wake = Wake()
    recordings = [Recording(str(p)) for p in paths]
    heard = run(recordings, Feeder(recordings, speed, wake, block=block), wake)
    for path, chunks in zip(paths, heard, strict=True):
        np.testing.assert_array_equal(samples(chunks), read_all(Recording(str(path))))
        assert all(c.lost == 0 for c in chunks)


@pytest.mark.parametrize("speed", [1.0, 2.5])
def test_pace_is_kept_by_deadlines(tmp_path: Path, speed: float) -> None:
    """Every block arrives when its last sample is due.

    It does not matter what the reader does meanwhile.
    """
    rate, seconds = 11025, 2.0 * speed
    path = write(tmp_path / "a.wav", noise(round(rate * seconds)), rate)
    wake = Wake()
    recording = Recording(str(path))
    feeder = Feeder([recording], speed, wake, block_ms=37)
    since = time.monotonic()
    (chunks,) = run([recording], feeder, wake)
    took = time.monotonic() - since
    assert took == pytest.approx(2.0, abs=0.1)
    ends = np.concatenate([c.block_ends for c in chunks])
    arrivals = np.concatenate([c.block_arrivals for c in chunks])
    due = ends / rate / speed
    # The deadlines themselves are exact; only the common start is unknown.
    np.testing.assert_allclose(arrivals - arrivals[0], due - due[0], atol=1e-9)
    assert arrivals[0] - since == pytest.approx(due[0], abs=0.1)


def test_many_files_begin_one_block_after_the_other_in_turns(tmp_path: Path) -> None:
    rates = [16000, 8000, 44100, 16000, 8000]
    paths = [write(tmp_path / f"{n}.wav", noise(2 * rate), rate) for n, rate in enumerate(rates)]
    wake = Wake()
    recordings = [Recording(str(path)) for path in paths]
    feeder = Feeder(recordings, 1.0, wake, block_ms=50, spread=0.16)
    heard = run(recordings, feeder, wake)
    starts = [
        chunks[0].block_arrivals[0] - chunks[0].block_ends[0] / rate
        for chunks, rate in zip(heard, rates, strict=True)
    ]
    np.testing.assert_allclose(np.array(starts) - starts[0], [0, 0.05, 0.1, 0, 0.05], atol=1e-6)
    for path, chunks in zip(paths, heard, strict=True):
        np.testing.assert_array_equal(samples(chunks), read_all(Recording(str(path))))


def test_a_replay_waits_for_a_slow_reader_and_loses_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(64_000))
    recording = Recording(str(path), buffer_seconds=0.1)
    feeder = Feeder([recording], 100.0, Wake())
    feeder.start()
    time.sleep(0.3)
    assert recording.ring.captured == 1600, "full, and waiting"
    parts = []
    while not recording.ring.finished:
        if (chunk := recording.ring.read(100)) is not None:
            parts.append(chunk.mono)
        else:
            time.sleep(0.0002)
    feeder.stop()
    np.testing.assert_array_equal(np.concatenate(parts), read_all(Recording(str(path))))


def test_pause_holds_the_recording_and_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(16_000))
    recording = Recording(str(path))
    feeder = Feeder([recording], 1.0, Wake(), block_ms=20)
    since = time.monotonic()
    feeder.start()
    time.sleep(0.3)
    feeder.pause()
    time.sleep(0.1)
    held = recording.ring.captured
    time.sleep(0.4)
    assert recording.ring.captured == held
    feeder.resume()
    while not recording.ring.finished:
        recording.ring.read(1 << 20)
        time.sleep(0.005)
    assert time.monotonic() - since == pytest.approx(1.5, abs=0.15)
    assert recording.ring.captured == 16_000
    feeder.stop()


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")
def test_a_silent_pipe_holds_up_nobody(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", noise(30_000))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hold = threading.Event()
    raw = file.read_bytes()

    def writer() -> None:
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(raw[:1044])
            hold.wait(20)

    thread = threading.Thread(target=writer)
    thread.start()
    recordings = [Recording(str(fifo)), Recording(str(file))]
    feeder = Feeder(recordings, None, Wake())
    feeder.start()
    deadline = time.monotonic() + 5
    while not recordings[1].ring.finished and time.monotonic() < deadline:
        recordings[1].ring.read(4096)
        time.sleep(0.001)
    assert recordings[1].ring.finished
    assert not recordings[0].ring.finished
    assert recordings[0].ring.captured == 500
    since = time.monotonic()
    feeder.stop()
    assert time.monotonic() - since < 1, "stopping does not wait for the pipe"
    hold.set()
    thread.join()
    assert recordings[0].ring.read(4096) is not None
    assert recordings[0].ring.finished


def test_damage_is_reported_at_the_rings_end_and_the_others_go_on(tmp_path: Path) -> None:
    good = write(tmp_path / "a.wav", noise(30_000))
    bad = write(tmp_path / "b.flac", noise(160_000))
    raw = bad.read_bytes()
    bad.write_bytes(raw[: len(raw) // 2])
    wake = Wake()
    recordings = [Recording(str(bad)), Recording(str(good))]
    heard = run(recordings, Feeder(recordings, None, wake), wake)
    assert recordings[0].ring.error == recordings[0].error
    assert "b.flac is damaged" in (recordings[0].error or "")
    assert 0 < len(samples(heard[0])) < 160_000
    assert recordings[1].ring.error is None
    assert len(samples(heard[1])) == 30_000


def test_an_error_of_ours_is_kept_and_ends_the_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(str(write(tmp_path / "a.wav", noise(30_000))))

    def broken(frames: int) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(recording, "read", broken)
    wake = Wake()
    feeder = Feeder([recording], None, wake)
    run([recording], feeder, wake)
    assert isinstance(feeder.failure, ZeroDivisionError)
    assert recording.ring.finished
    assert "ZeroDivisionError" in (recording.ring.error or "")


def test_stopping_twice_and_without_starting_gives_everything_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(3000))
    before = set(Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else set()
    for start in (True, False):
        recording = Recording(str(path))
        feeder = Feeder([recording], 1.0, Wake())
        if start:
            feeder.start()
        feeder.stop()
        feeder.stop()
        assert not [t for t in threading.enumerate() if t.name.startswith("feeder")]
        assert recording.ring.read(1 << 20) is None or recording.ring.finished
    if before:
        assert len(set(Path("/proc/self/fd").iterdir())) == len(before)


def test_a_feeder_that_waits_uses_no_processor_time(tmp_path: Path) -> None:
    recording = Recording(str(write(tmp_path / "a.wav", noise(64_000))), buffer_seconds=0.1)
    feeder = Feeder([recording], None, Wake())
    feeder.start()
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
    feeder.stop()
