"""Butterworth high-pass at 16 kHz: removes offset, rumble and mains hum.

It works block by block.

CORNER and ORDER are the filter's only settings; docs/sound.md tells what they were chosen by. The
group delay falls with frequency: 1.2 ms at 200 Hz, 0.5 ms at 300 Hz, 0.2 ms at 500 Hz. Times of
events, which are multiples of the gate's 32 ms, are not corrected for it.
"""

from __future__ import annotations

import cmath
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE

CORNER: Final = 100.0
"""Hz; where the filter takes 3 dB."""
ORDER: Final = 4
"""Even; 6 dB an octave each below the corner."""
_BLOCK: Final = 64
"""Samples that one product of matrices filters."""
_GROUP: Final = 64
"""Blocks whose states follow from one product of matrices."""
_TINY: Final = 1e-30
"""Magnitude below which a state is zero: denormal numbers are slow."""

Samples = NDArray[np.float32]


class HighPass:
    """One stream's filter, with its state.

    The first sample is taken for the offset of all before it, so that a stream that begins off
    zero begins without a step. The output does not depend on how the samples are divided into
    blocks, but for rounding of its last bit. Samples that are no finite numbers count as zero.
    """

    def __init__(self) -> None:
        self._kernel = _KERNEL
        self._offset: float | None = None
        self._state = np.zeros(len(_KERNEL.poles), np.complex128)
        """Of each pole, at the beginning of the block that is not full."""
        self._rest = np.zeros(0)  # samples of that block

    def feed(self, samples: Samples) -> Samples:
        """The next samples, shape (n,), to as many filtered ones."""
        if not len(samples):
            return samples
        if not math.isfinite(float(samples.sum())):
            samples = np.where(np.isfinite(samples), samples, np.float32(0))
        if self._offset is None:
            self._offset = float(samples[0])
        known = len(self._rest)
        total = known + len(samples)
        blocks = -(-total // _BLOCK)
        padded = np.zeros(blocks * _BLOCK)
        padded[:known] = self._rest
        np.subtract(samples, self._offset, out=padded[known:total], dtype=np.float64)
        rows = padded.reshape(blocks, _BLOCK)
        filtered = rows @ self._kernel.response
        filtered += self._memory(rows, total // _BLOCK)
        self._rest = padded[total // _BLOCK * _BLOCK : total].copy()
        return filtered.reshape(-1)[known:total].astype(np.float32)

    def _memory(self, rows: NDArray[np.float64], full: int) -> NDArray[np.float64]:
        """Contribution of all earlier samples to each block, shape of `rows`.

        Keeps the state behind the `full` ones.
        """
        kernel = self._kernel
        before = np.empty((len(rows), len(kernel.poles)), np.complex128)
        for first in range(0, len(rows), _GROUP):
            group = rows[first : first + _GROUP]
            count = len(group)
            given = np.concatenate([self._state[None], (group @ kernel.drive).view(np.complex128)])
            states = np.empty_like(given)
            for pole, carry in enumerate(kernel.carry):
                states[:, pole] = carry[: count + 1, : count + 1] @ given[:, pole]
            states[np.abs(states) < _TINY] = 0
            before[first : first + count] = states[:count]
            self._state = states[min(count, full - first)]
        echo: NDArray[np.float64] = before.view(np.float64) @ kernel.recall
        return echo


def high_passed(samples: Samples) -> Samples:
    """High-pass filter a whole recording at 16 kHz, shape (n,).

    As a stream that begins with it is filtered.
    """
    return HighPass().feed(samples)


class _Kernel:
    """The filter as matrices for blocks of samples.

    Butterworth's poles by the bilinear transform with the corner prewarped, the transfer function
    as a sum of one-pole filters (partial fractions): H(z) = d + sum_k 2 Re r_k / (1 - p_k / z).
    """

    def __init__(self, corner: float, order: int) -> None:
        if order < 2 or order % 2:
            raise ValueError("the order must be even")
        warped = 2 * math.tan(math.pi * corner / RATE)
        analogue = [
            warped / cmath.exp(1j * math.pi * (0.5 + (2 * k + 1) / (2 * order)))
            for k in range(order // 2)
        ]
        self.poles = [(2 + pole) / (2 - pole) for pole in analogue]
        every = np.array([*self.poles, *np.conj(self.poles)])
        gain = math.prod(abs(-1 - pole) ** 2 for pole in self.poles) / 2**order
        residues = [
            gain * (1 - 1 / pole) ** order / np.prod(1 - every[every != pole] / pole)
            for pole in self.poles
        ]
        direct = gain - 2 * sum(residue.real for residue in residues)

        n = np.arange(_BLOCK)
        powers = np.array(self.poles)[:, None] ** n
        impulse = 2 * (np.array(residues) @ powers).real
        impulse[0] += direct
        self.response = np.zeros((_BLOCK, _BLOCK))
        """Row i: what sample i of a block makes of the block."""
        for i in range(_BLOCK):
            self.response[i, i:] = impulse[: _BLOCK - i]
        self.drive = np.ascontiguousarray(powers[:, ::-1].T).view(np.float64)
        """(block, 2 * poles): what the samples of a block add to the states, real and imaginary."""
        recall = 2 * (np.array(residues) * np.array(self.poles))[:, None] * powers
        self.recall = np.ascontiguousarray(recall.conj().T).view(np.float64).T
        """(2 * poles, block): what the states, real and imaginary, add to the samples."""
        later = np.subtract.outer(np.arange(_GROUP + 1), np.arange(_GROUP + 1))
        steps = np.array(self.poles)[:, None, None] ** (_BLOCK * np.maximum(later, 0))
        self.carry = steps * (later >= 0)
        """(poles, group + 1, group + 1): the states behind 0, 1, … blocks from the state before
        them and what each block adds."""


_KERNEL: Final = _Kernel(CORNER, ORDER)
