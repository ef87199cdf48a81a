"""Reads one channel of a recording and names its faults."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.capture.channel_monitor import ChannelMonitor
from daemon.capture.channels import Channel, sanitised, select
from daemon.capture.recording.content import Content
from daemon.capture.recording.decoder import Decoder, UnreadableError, open_content
from daemon.capture.recording.libsndfile import DamagedError, cause

_SAMPLES_AT_ONCE = 1 << 20
"""Decoded samples of all channels together held at once; bounds memory for 1024 channels."""
_DAMAGE_LIMIT = 50
"""Decoding errors after which a recording is given up."""
_BEYOND_SCALE = 16.0
"""Magnitude (24 dB above full scale) from which on samples are in another scale, not too loud."""
_LARGEST_INTEGER = 2.0**31
"""Above it lies no integer scale: such samples are single broken floats, and clipped."""


class Reader:
    """Mono samples of `decoder`, block by block, each within [-1, 1].

    Samples that are no numbers become 0. What goes wrong is kept in `error` and does not undo what
    was read before; `notices` are what the user should know although nothing failed. These are
    sentences that complete "NAME …".
    """

    def __init__(self, decoder: Decoder, channel: Channel = "mix") -> None:
        self._decoder = decoder
        self._channel = channel
        self._channels = ChannelMonitor(channel, decoder.channels, decoder.rate)
        self._position = 0
        self._damages = 0
        self._ended = False
        self.not_finite = 0
        """Samples that were no numbers."""
        self.error: str | None = None
        self.notices: list[str] = []

    def read(self, frames: int) -> NDArray[np.float32] | None:
        """The next 1 to `frames` samples, shape (n, 1); None at the end.

        Raises: nothing for what a recording holds, but what ended the wait for a pipe.
        """
        at_once = max(1, min(frames, _SAMPLES_AT_ONCE // self._decoder.channels))
        while not self._ended:
            try:
                block = self._decoder.read(at_once)
            except DamagedError as damaged:
                self._damages += 1
                block = damaged.before
                self._fail(f"is damaged at {self._at(len(block))}: {damaged}")
                if not len(block) and self._damages <= _DAMAGE_LIMIT:
                    continue
            except OSError as error:
                self._fail(f"cannot be read on at {self._at()}: {cause(error)}")
                break
            if not len(block):
                self._conclude()
                break
            self._note(self._channels.feed(block))
            chosen = self._in_scale(select(block, self._channel))
            if not len(chosen):
                break
            self._position += len(chosen)
            samples, broken = sanitised(chosen)
            self.not_finite += broken
            return samples
        self._ended = True
        return None

    def _in_scale(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples ahead of the first on an integer scale, mostly all."""
        if np.abs(samples).max() <= _BEYOND_SCALE:  # a NaN makes this false
            return samples
        with np.errstate(invalid="ignore"):
            size = np.abs(samples[:, 0])
            outside = (size > _BEYOND_SCALE) & (size <= _LARGEST_INTEGER)
        if not outside.any():
            return samples
        first = int(outside.argmax())
        self._ended = True
        self._fail(
            f"holds a sample of {size[first]:.0f} at {self._at(first)}, where full scale is 1; if "
            "its floats are in the scale of integers, divide them by that (by 32768 for 16 bits)"
        )
        return samples[:first]

    def _fail(self, sentence: str) -> None:
        if self.error is None:
            self.error = sentence

    def _at(self, more: int = 0) -> str:
        return f"{(self._position + more) / self._decoder.rate:.1f} s"

    @property
    def cancelled(self) -> bool:
        """The channels cancel each other in the mean that was read."""
        return self._channels.cancelled

    @property
    def uneven(self) -> bool:
        """A channel is silent, or much louder than the others."""
        return self._channels.uneven

    def _note(self, faults: Sequence[str]) -> None:
        self.notices += [f"has a fault: {fault}" for fault in faults]

    def _conclude(self) -> None:
        self._note(self._channels.finish())
        shortfall = self._decoder.shortfall()
        self.notices += self._decoder.notices
        if self.not_finite:
            self.notices.append(
                f"held {self.not_finite} samples that are no numbers; they count as silence"
            )
        if shortfall is not None:
            self._fail(shortfall)


def open_regular(path: str) -> int:
    """Descriptor of a regular file; pipes and devices are refused, not opened.

    Raises: UnreadableError.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot be opened: {cause(error)}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise UnreadableError(
        "is a folder and no recording"
        if stat.S_ISDIR(mode)
        else "is no regular file but a pipe, a socket or a device"
    )


def read_whole(content: Content, channel: Channel = "mix") -> tuple[NDArray[np.float32], int, bool]:
    """All samples, shape (n,), their rate, and whether channels are uneven.

    For uneven see `Reader`.

    The samples are those that a replay of the same bytes gives.

    Raises: UnreadableError also if part of them is damaged, missing or no number.
    """
    decoder = open_content(content)
    reader = Reader(decoder, channel)
    blocks = [np.zeros((0, 1), np.float32)]
    while (block := reader.read(_SAMPLES_AT_ONCE)) is not None:
        blocks.append(block)
    if reader.error is not None:
        raise UnreadableError(reader.error)
    if reader.cancelled:
        raise UnreadableError("has channels that cancel each other in their mean")
    if reader.not_finite:
        raise UnreadableError(f"holds {reader.not_finite} samples that are not finite numbers")
    return np.concatenate(blocks)[:, 0], decoder.rate, reader.uneven
