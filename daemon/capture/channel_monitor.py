"""Finds channels of a source that cancel, are dead, or much louder.

Pure: fed with blocks, no clocks. Only frames of 0.1 s in which some channel is louder than ACTIVE
count, so that nothing is concluded from a quiet room.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.capture.channels import Channel

ACTIVE: Final = 10 ** (-55 / 10)
"""Power of a frame's loudest channel, offset removed, from which on the frame counts."""
ENOUGH: Final = 1.5
"""Seconds of frames that count after which the channels are judged, and each time again."""
LEAST: Final = 0.3
"""The same at the end of a recording."""
DEAD_DB: Final = 40.0
"""A channel that far below the loudest is dead."""
LOUDER_DB: Final = 15.0
"""The loudest channel is much louder if it lies that far above the median of the others."""
CANCELLED_DB: Final = 9.0
"""Channels cancel if their mean lies that far below the loudest channel, and besides"""
OPPOSED_DB: Final = 3.0
"""that far below the mean of channels that have nothing in common."""
_ALIKE_DB: Final = 1.0
"""Of channels that are that close to the loudest the first is recommended."""
_FRAME: Final = 0.1
_MOST_NAMED: Final = 6


class ChannelMonitor:
    """Statistics of a source's channels, and their faults, each named once."""

    def __init__(self, channel: Channel, channels: int, rate: int) -> None:
        """`channel` is what is chosen of `channels` at `rate` Hz."""
        self._channel = channel
        self._channels = channels
        self._frame = max(1, round(_FRAME * rate))
        self._needed = ENOUGH / _FRAME
        self._rest = np.zeros((0, channels), np.float32)
        self._power = np.zeros(channels)
        self._mixed = 0.0
        self._count = 0
        self._said: set[str] = set()

    def feed(self, block: NDArray[np.float32]) -> list[str]:
        """Add samples of all channels, shape (n, channels); return new sentences."""
        if self._channels == 1:
            return []
        if len(self._rest) + len(block) < self._frame:
            self._rest = np.concatenate([self._rest, block])
            return []
        samples = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(samples) // self._frame * self._frame
        self._rest = samples[whole:].copy()
        found = []
        for start in range(0, whole, self._frame):
            self._add(samples[start : start + self._frame])
            if self._count >= self._needed:
                found += self._judge()
        return found

    def finish(self) -> list[str]:
        """Nothing more will come: judge by what there was."""
        return self._judge() if self._count >= LEAST / _FRAME else []

    @property
    def cancelled(self) -> bool:
        """The channels cancel each other."""
        return "cancelled" in self._said

    @property
    def uneven(self) -> bool:
        """A channel is silent, or much louder than the others."""
        return any(kind == "louder" or kind.startswith("dead") for kind in self._said)

    def _add(self, frame: NDArray[np.float32]) -> None:
        if not np.isfinite(frame).all():
            return
        power = frame.var(axis=0, dtype=np.float64)
        if power.max() < ACTIVE:
            return
        self._power += power
        self._mixed += float(frame.mean(axis=1, dtype=np.float64).var())
        self._count += 1

    def _judge(self) -> list[str]:
        """Sentences about the frames since the last time that are new."""
        power, mixed = self._power / self._count, self._mixed / self._count
        self._power, self._mixed, self._count = np.zeros(self._channels), 0.0, 0
        below = [_decibels(power.max(), each) for each in power]
        loudest = next(n for n in range(self._channels) if below[n] < _ALIKE_DB)
        dead = [n for n in range(self._channels) if below[n] > DEAD_DB]
        if self._channel != "mix":
            return self._of_one(self._channel, dead, loudest)
        choose = f"set audio.channel to {loudest + 1}"
        cancelled = _decibels(power[loudest], mixed)
        opposed = _decibels(power.sum() / self._channels**2, mixed)
        if cancelled > CANCELLED_DB and opposed > OPPOSED_DB:
            return self._once(
                "cancelled",
                f"the channels cancel each other: their mean is {cancelled:.0f} dB below "
                f"channel {loudest + 1}, as when the wires of one are swapped; {choose}",
            )
        if dead:
            weaker = 20 * math.log10(self._channels / (self._channels - len(dead)))
            return self._once(
                f"dead {dead}",
                f"{_names(dead)} silent, which takes {weaker:.0f} dB from the mean; {choose}",
            )
        others = float(np.median(np.delete(below, loudest)))
        if others > LOUDER_DB:
            return self._once(
                "louder",
                f"channel {loudest + 1} is {others:.0f} dB louder than the "
                f"{'other, which adds' if self._channels == 2 else 'others, which add'} little but "
                f"noise to the mean; {choose}",
            )
        return []

    def _of_one(self, channel: int, dead: list[int], loudest: int) -> list[str]:
        if channel - 1 not in dead:
            return []
        return self._once(
            "chosen is dead",
            f"channel {channel}, which is listened to, is silent while channel {loudest + 1} is "
            f"not; set audio.channel to {loudest + 1}",
        )

    def _once(self, kind: str, sentence: str) -> list[str]:
        if kind in self._said:
            return []
        self._said.add(kind)
        return [sentence]


def _decibels(power: float, other: float) -> float:
    """Decibels from `other` up to `power`, at most 99."""
    return min(99.0, 10 * math.log10(max(power, 1e-30) / max(other, 1e-30)))


def _names(channels: list[int]) -> str:
    """Channels counted from 0 as the beginning of a sentence."""
    if len(channels) == 1:
        return f"channel {channels[0] + 1} is"
    if len(channels) > _MOST_NAMED:
        return f"{len(channels)} channels are"
    *first, last = (str(n + 1) for n in channels)
    return f"channels {', '.join(first)} and {last} are"
