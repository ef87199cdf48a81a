"""Hostile recordings, each replayed from file to messages."""

from __future__ import annotations

import io
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from fuzz.hostile_wav import hostile_wav
from fuzz.mutators import mutate_bytes, nasty_name
from fuzz.odd_recordings import odd_recording
from fuzz.screen import check_messages, check_sentence
from numpy.typing import NDArray
from support.capture_helpers import read_all

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.capture.recording.recording import Recording
from daemon.messages import Message, Summary
from daemon.runtime.inputs import Recordings
from daemon.runtime.stream_feed import StreamFeed
from daemon.runtime.worker import Worker
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings
from train.data.decoding import decode

LABELS = ("go", "\x1b[31mstop[/red]", "background")
LONG_ENOUGH = 0.3
"""Seconds after which the replay of something endless is ended, as a user would."""
_KINDS = (
    ("WAV", "PCM_16", 16000), ("WAV", "PCM_24", 44100), ("WAV", "PCM_U8", 8000),
    ("WAV", "FLOAT", 48000), ("WAV", "ULAW", 8000), ("WAV", "IMA_ADPCM", 16000),
    ("WAVEX", "PCM_16", 22050), ("RF64", "PCM_16", 16000), ("W64", "PCM_16", 16000),
    ("FLAC", "PCM_16", 16000), ("OGG", "VORBIS", 16000), ("OGG", "OPUS", 48000),
    ("MP3", "MPEG_LAYER_III", 16000), ("AIFF", "PCM_16", 16000), ("AU", "ALAW", 8000),
    ("CAF", "PCM_16", 16000), ("SVX", "PCM_16", 16000), ("VOC", "PCM_16", 16000),
    ("NIST", "PCM_16", 16000), ("IRCAM", "PCM_16", 16000), ("MAT5", "PCM_16", 16000),
)  # fmt: skip


def seeds() -> list[bytes]:
    """Whole recordings of many kinds, to be damaged."""
    rng = np.random.default_rng(1)
    found = []
    for number, (kind, subtype, rate) in enumerate(_KINDS):
        channels = 1 + number % 2
        sound = 0.3 * rng.standard_normal((rate // 2, channels))
        if kind == "MP3":
            sound = sound[:, :1]
        file = io.BytesIO()
        soundfile.write(file, sound, rate, format=kind, subtype=subtype)
        found.append(file.getvalue())
    return found


class Recordings_:  # noqa: N801 - the plain name is the input's
    """Makes and runs the cases."""

    def __init__(self) -> None:
        self._seeds = seeds()
        kinds = {kind: data for (kind, _, _), data in zip(_KINDS, self._seeds, strict=True)}
        self._kinds = {**kinds, "WAV": self._seeds[0]}
        self._gates = GateBank.load(GateSettings(kind="energy"))

    def run(self, rng: random.Random, folder: Path) -> str:
        """One case; "heard", "refused" or "odd" (no regular file)."""
        name = nasty_name(rng, rng.choice((".wav", ".wav", ".flac", ".mp3", ".ogg", ".raw", "")))
        path = os.fsdecode(os.fsencode(folder) + b"/" + name)
        if rng.random() < 0.06:
            return self._odd(rng, path)
        content = self._content(rng)
        with open(path, "wb") as file:  # noqa: PTH123 - the name is no str for pathlib
            file.write(content)
        if rng.random() < 0.02:
            os.chmod(path, 0)  # noqa: PTH101
        if rng.random() < 0.3:
            _compare_with_training(path, content)
        return self._replay(path, rng)

    def _content(self, rng: random.Random) -> bytes:
        match rng.randrange(13):
            case 0 | 1 | 2 | 3:
                return hostile_wav(rng)
            case 10 | 11:
                return odd_recording(rng, self._kinds)
            case 12:
                return mutate_bytes(rng, odd_recording(rng, self._kinds), self._seeds)
            case 4:
                return mutate_bytes(rng, hostile_wav(rng), self._seeds)
            case 5:
                return rng.randbytes(rng.choice((0, 1, 3, 4, 12, 44, 3000)))
            case _:
                return mutate_bytes(rng, rng.choice(self._seeds), self._seeds)

    def _replay(self, path: str, rng: random.Random) -> str:
        try:
            channel = rng.choice(("mix",) * 9 + (1, 2, 300))
            deadline = time.monotonic() + LONG_ENOUGH
            recording = Recording(
                path,
                channel=channel,  # type: ignore[arg-type]
                buffer_seconds=4.0,
                cancelled=lambda: time.monotonic() > deadline,
            )
        except UserError as error:
            check_sentence(str(error))
            assert error.status in (2, 130)  # 130: the wait for a pipe was ended
            return "refused"
        messages = self._listen(recording, rng)
        check_messages(LABELS, messages)
        (summary,) = [message for message in messages if isinstance(message, Summary)]
        lost = summary.samples_shed
        assert summary.samples_captured == (
            summary.samples_classified + summary.samples_gated + lost
        ), summary
        return "heard"

    def _listen(self, recording: Recording, rng: random.Random) -> list[Message]:
        block_ms = rng.choice((0.5, 20.0, 1000.0))
        source = Recordings([recording], None, block_ms=block_ms)
        messages: list[Message] = []
        hop = rng.choice((0.24, 1.0))
        stream = Stream(
            recording.info, StreamSettings(LABELS, frozenset({"background"}), hop=hop), self._gates
        )
        worker = Worker(
            [StreamFeed(stream, recording.ring)],
            _Even().classify,
            self._gates,
            lambda *said: messages.extend(said),
            source.wake,
            max_batch=4,
            hop=hop,
            lag_warning=1.0,
            lag_limit=5.0,
        )

        def enough() -> None:
            worker.drain(time.monotonic() + 1.0)
            source.stop()

        timer = threading.Timer(LONG_ENOUGH, enough)
        source.start(on_news=lambda: None)
        timer.start()
        try:
            worker.run()
            messages += source.tick(0.0)
        finally:
            timer.cancel()
            timer.join()
            source.stop()
            recording.close()
        return messages

    # ---- what is no regular file --------------------------------------------------------------

    def _odd(self, rng: random.Random, path: str) -> str:
        targets = (
            path, "/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "/nowhere/x"
        )  # fmt: skip
        makers: list[Callable[[], object]] = [
            *(partial(self._link, target, path) for target in targets),
            partial(os.mkdir, path),
            lambda: None,
            lambda: self._fifo(rng, path),
            lambda: self._fifo(rng, path),
            lambda: self._socket(path),
            lambda: self._huge(path),
        ]
        rng.choice(makers)()
        self._replay(path, rng)
        return "odd"

    def _link(self, target: str, path: str) -> None:
        os.symlink(target, path)  # noqa: PTH211 - the name is no str for pathlib

    def _fifo(self, rng: random.Random, path: str) -> None:
        """A pipe whose writer says something, or nothing, or never stops."""
        os.mkfifo(path)
        way = rng.choice(("nobody", "short", "endless", "silent", "mutated"))
        content = hostile_wav(rng) if way == "mutated" else self._seeds[0]

        def write() -> None:
            try:
                with open(path, "wb", buffering=0) as pipe:  # noqa: PTH123
                    pipe.write(content)
                    until = time.monotonic() + 2.0
                    while way == "endless" and time.monotonic() < until:
                        pipe.write(bytes(32768))
                    if way == "silent":
                        time.sleep(1.0)
            except OSError:
                pass

        if way != "nobody":
            threading.Thread(target=write, daemon=True).start()

    def _socket(self, path: str) -> None:
        place = os.fsencode(path)
        if len(place) < 100:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(place)

    def _huge(self, path: str) -> None:
        """A hundred gigabytes, which take no room."""
        with open(path, "wb") as file:  # noqa: PTH123
            head = bytearray(self._seeds[0][:44])
            head[40:44] = b"\xff\xff\xff\xff"
            file.write(head)
            file.truncate(100 << 30)


def _compare_with_training(path: str, content: bytes) -> None:
    """Training takes the samples of a replay, or refuses as it does."""
    try:
        recording = Recording(path)
        heard = read_all(recording, 4096)
        error = recording.error
        broken = any("no numbers" in notice for notice in recording.notices)
    except UserError as refusal:
        heard, error, broken = np.zeros(0, np.float32), str(refusal), False
    for audio in (path, content):
        if isinstance(audio, bytes) and error is not None and "denied" in error:
            continue  # its bytes may be read all the same
        try:
            taken = decode(audio)
        except ValueError as refusal:
            assert broken or (error is not None and error.endswith(str(refusal))), (error, refusal)
        else:
            assert error is None, error
            if recording.info.rate == RATE:
                np.testing.assert_array_equal(taken, heard)


class _Even:
    """A model without an opinion: what is tried here is everything around it."""

    def classify(self, windows: NDArray[np.float32], /) -> NDArray[np.float32]:
        assert np.isfinite(windows).all() and np.abs(windows).max() <= 4.0
        return np.full((len(windows), len(LABELS)), 1 / len(LABELS), np.float32)
