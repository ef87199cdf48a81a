"""Sound of a recording session: a microphone, or a recording of words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.capture.microphone.microphone import Microphone
from daemon.capture.wake import Wake
from daemon.windowing.resample import Resampler
from train.data.decoding import decode
from train.recorder.finder import Audio

BLOCK = RATE // 10
NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A piece of sound, 16 kHz mono."""

    samples: Audio
    lost: bool = False
    """Sound is missing before it."""
    note: str = ""
    """What happened to the device."""


class Sound(Protocol):
    """Something to record from."""

    @property
    def device(self) -> str: ...

    def blocks(self) -> Iterator[Block]:
        """Until there is no more; an empty block now and then while nothing comes."""
        ...

    def forget(self) -> None:
        """Pass over what has come and was not asked for yet."""
        ...

    def close(self) -> None: ...


class MicrophoneSound:
    """The daemon's own capture: it comes back by itself when the device does."""

    def __init__(self, microphone: Microphone, wake: Wake) -> None:
        """Sound of `microphone`, which was made with `wake`.

        Raises: UserError if it can't be opened.
        """
        self._microphone, self._wake = microphone, wake
        self._resampler = Resampler(microphone.info.rate)
        microphone.start()

    @property
    def device(self) -> str:
        return self._microphone.info.name

    def blocks(self) -> Iterator[Block]:
        ring = self._microphone.ring
        while True:
            note = " ".join(report.text for report in self._microphone.reports.take())
            chunk = ring.read(ring.rate)
            if chunk is None:
                if ring.finished:
                    if ring.error:
                        raise UserError(ring.error, status=1)
                    return
                self._wake.wait(0.05)
                yield Block(NOTHING, note=note)
                continue
            if chunk.lost:
                self._resampler = Resampler(self._microphone.info.rate)
            yield Block(self._resampler.feed(chunk.mono), bool(chunk.lost), note)

    def forget(self) -> None:
        self._microphone.ring.shed_to(0)

    def close(self) -> None:
        self._microphone.stop()


class FileSound:
    """A recording, as fast as it is asked for."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if it cannot be decoded."""
        try:
            self._samples = decode(str(path))
        except ValueError as error:
            raise UserError(f"{path} {error}.") from error
        self.device = path.name

    def blocks(self) -> Iterator[Block]:
        for first in range(0, len(self._samples), BLOCK):
            yield Block(self._samples[first : first + BLOCK])

    def forget(self) -> None:
        """Nothing comes unasked."""

    def close(self) -> None:
        """Nothing is open."""


def play(samples: Audio) -> None:
    """Play a take and wait for its end.

    Raises: UserError if nothing can be played here.
    """
    try:
        import sounddevice

        sounddevice.play(samples, RATE)
        time.sleep(len(samples) / RATE + 0.1)
        sounddevice.stop()
    except Exception as error:  # PortAudio's and its absence alike
        raise UserError(f"the take can't be played ({error})") from error
