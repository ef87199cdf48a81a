"""Recordings in memory, and the three ways in that must agree on them."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.capture.recording.recording import Recording
from support.capture_helpers import noise, read_all
from train.data.decoding import decode

RATE = 16000
Samples = NDArray[np.float32]


@cache
def encoded(
    kind: str, subtype: str = "PCM_16", frames: int = 24000, channels: int = 1, rate: int = RATE
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(frames, channels), rate, format=kind, subtype=subtype)
    return file.getvalue()


def whole(data: bytes) -> Samples:
    """What soundfile makes of bytes that nothing is wrong with."""
    return np.asarray(soundfile.read(io.BytesIO(data), dtype="float32")[0], np.float32)


def patched(data: bytes, *places: tuple[int, bytes]) -> bytes:
    out = bytearray(data)
    for at, new in places:
        out[at : at + len(new)] = new
    return bytes(out)


def by_file(path: Path) -> tuple[Samples, str | None]:
    return drained(Recording(str(path)))


def drained(recording: Recording) -> tuple[Samples, str | None]:
    name = recording.name
    samples = read_all(recording, 997)
    error = recording.error
    return samples, None if error is None else error.removeprefix(f"{name} ")


def by_pipe(path: Path) -> tuple[Samples, str | None]:
    """The same bytes through a FIFO."""
    fifo = path.with_name("fifo")
    if not fifo.exists():
        os.mkfifo(fifo)

    def writer() -> None:
        with contextlib.suppress(BrokenPipeError), fifo.open("wb") as file:
            file.write(path.read_bytes())

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        return drained(Recording(str(fifo)))
    except UserError as error:
        return np.zeros(0, np.float32), str(error).removeprefix(f"{fifo} ")
    finally:
        thread.join()


def by_training(audio: str | bytes) -> tuple[Samples, str | None]:
    try:
        return decode(audio), None
    except ValueError as error:
        return np.zeros(0, np.float32), str(error)


def everywhere(path: Path) -> tuple[Samples, str | None, list[str]]:
    """What all ways in give: samples, error and notices; they must agree."""
    try:
        recording = Recording(str(path))
        samples, error = drained(recording)
        notices = [notice.removeprefix(f"{path} ") for notice in recording.notices]
    except UserError as refusal:
        samples, notices = np.zeros(0, np.float32), []
        error = str(refusal).removeprefix(f"{path} ")
    piped, piped_error = by_pipe(path)
    assert piped_error == error
    np.testing.assert_array_equal(piped, samples)
    for audio in (str(path), path.read_bytes()):
        trained, refusal_of_training = by_training(audio)
        assert refusal_of_training == error
        if error is None:
            np.testing.assert_array_equal(trained, samples)
    return samples, error, notices
