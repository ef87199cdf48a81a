"""Silero VAD, from the weights in daemon/bundled/silero_vad, in numpy.

The network is so small that a runtime spends most of its time on its 250 nodes rather than on
their sums; and run as one graph its memory binds each chunk to the one before, though only the last
step, an LSTM cell, needs that. Here everything before the LSTM is computed for all chunks at once,
of however many streams and however long a stretch of each. Figures are in docs/speed.md.

The network, per chunk of 512 samples with the 64 before it: magnitudes of 4 short-time spectra of
256 samples, four convolutions over those, an LSTM cell, a weighted sum, a sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.vad.blas import one_thread
from daemon.vad.detector import CHUNK
from daemon.vad.gain import AutomaticGain, levels
from daemon.vad.onnx_weights import read_weights

_MODEL: Final = Path(__file__).parent.parent / "bundled" / "silero_vad" / "silero_vad_16k_op15.onnx"
_CONTEXT: Final = 64
"""Samples of the chunk before that the network wants in front of each chunk."""
_HIDDEN: Final = 128
_SPECTRUM, _SHIFT, _FRAMES = 256, 128, 4
"""Samples of a spectrum and from one to the next, and how many a chunk has."""
QUIET: Final = 0.1
"""Probability below which a chunk is surely no speech."""
FORGET_AFTER: Final = 62
"""Chunks in a row (2 s) below QUIET after which the network's memory is cleared.

Left alone in noise it goes deaf (silero-vad's issue 725): of words spoken every 2.5 s into kitchen
noise at 10 dB it heard 19 %, with its memory cleared after 1 or 2 s all, after 4 s 93 %; of noise
alone at most 4 % of windows passed either way.
"""

Array = NDArray[np.float32]


class _State:
    """What one stream's chunks so far have left behind."""

    __slots__ = ("cell", "context", "gain", "hidden", "quiet")

    def __init__(self) -> None:
        self.gain = AutomaticGain()
        self.context = np.zeros(_CONTEXT, dtype=np.float32)  # as it came, without gain
        self.hidden = np.zeros(_HIDDEN, dtype=np.float32)
        self.cell = np.zeros(_HIDDEN, dtype=np.float32)
        self.quiet = 0

    def hear(self, probability: float) -> None:
        self.quiet = self.quiet + 1 if probability < QUIET else 0
        if self.quiet >= FORGET_AFTER:
            self.hidden = np.zeros(_HIDDEN, dtype=np.float32)
            self.cell = np.zeros(_HIDDEN, dtype=np.float32)
            self.quiet = 0


class SileroDetector:
    """Probability of speech by Silero VAD 6."""

    def __init__(self) -> None:
        """Reads the weights. Raises UserError if their file is missing or damaged."""
        one_thread()
        try:
            weights = read_weights(_MODEL)
            self._network = _Network(weights)
        except (OSError, ValueError, KeyError):
            raise UserError(
                f"the silero gate's network {_MODEL} is missing or damaged: install intentd again "
                "or set gate.kind to energy"
            ) from None

    def new_state(self) -> _State:
        """A stream that begins."""
        return _State()

    def probabilities(self, chunks: Array, states: Sequence[object]) -> Array:
        """Shape (n,), 0 to 1, of chunks (n, 512); see `Detector`."""
        given = np.empty((len(chunks), _CONTEXT + CHUNK), dtype=np.float32)
        given[:, _CONTEXT:] = chunks
        rounds: list[list[int]] = []  # places in `chunks`: of each stream its first, its second, …
        met: dict[int, int] = {}
        for place, state in enumerate(states):
            assert isinstance(state, _State)
            given[place, :_CONTEXT] = state.context
            state.context = given[place, CHUNK:]
            count = met.get(id(state), 0)
            met[id(state)] = count + 1
            if count == len(rounds):
                rounds.append([])
            rounds[count].append(place)
        for state in states:
            assert isinstance(state, _State)
            if state.context.base is given:
                state.context = state.context.copy()  # given is scaled, and need not be kept
        given *= self._gains(chunks, states)[:, None]
        driven = self._network.drive(given)
        found = np.empty(len(chunks), dtype=np.float32)
        for places in rounds:
            now = [states[place] for place in places]
            self._step(driven, places, now, found)
        return found

    @staticmethod
    def _gains(chunks: Array, states: Sequence[object]) -> Array:
        """The gain of each chunk, shape (n,)."""
        gains = np.empty(len(chunks), dtype=np.float32)
        for place, (state, level, peak) in enumerate(zip(states, *levels(chunks), strict=True)):
            assert isinstance(state, _State)
            gains[place] = state.gain.update(level, peak, CHUNK / RATE)
        return gains

    def _step(
        self, driven: Array, places: list[int], states: Sequence[object], found: Array
    ) -> None:
        """One chunk of each of these streams."""
        if len(places) == 1:
            (place,), (state,) = places, states
            assert isinstance(state, _State)
            state.hidden, state.cell = self._network.step(driven[place], state.hidden, state.cell)
            found[place] = self._network.judge(state.hidden)
            state.hear(float(found[place]))
            return
        hidden, cell = self._network.step(
            driven[places],
            np.stack([state.hidden for state in states]),  # type: ignore[attr-defined]
            np.stack([state.cell for state in states]),  # type: ignore[attr-defined]
        )
        found[places] = self._network.judge(hidden)
        for row, (place, state) in enumerate(zip(places, states, strict=True)):
            assert isinstance(state, _State)
            state.hidden, state.cell = hidden[row].copy(), cell[row].copy()
            state.hear(float(found[place]))


class _Network:
    """The sums."""

    def __init__(self, weights: dict[str, Array]) -> None:
        """KeyError or ValueError if these are not Silero VAD's weights."""
        basis = weights["model.stft.forward_basis_buffer"].reshape(-1, _SPECTRUM)
        self._basis = np.ascontiguousarray(basis.T)
        self._bins = len(basis) // 2
        convolutions = []
        for number in range(4):
            name = f"model.encoder.{number}.reparam_conv"
            kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            convolutions.append((kernel.transpose(2, 1, 0), bias))  # (3, in, out)
        (first, b0), (second, b1), (third, b2), (fourth, b3) = convolutions
        self._first = np.ascontiguousarray(first.reshape(-1, first.shape[2])), b0
        self._second = np.ascontiguousarray(second.reshape(-1, second.shape[2])), b1
        # The third hears two frames behind one of padding, the fourth one between two of padding.
        self._third = np.ascontiguousarray(third[1:].reshape(-1, third.shape[2])), b2
        self._fourth = np.ascontiguousarray(fourth[1]), b3
        rnn = "model.decoder.rnn"
        # The gates' order is that of the file (in, forget, new, out). A sigmoid is half a tanh and
        # a half; with their weights halved one tanh serves all four gates.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), _HIDDEN)
        self._input = np.ascontiguousarray((weights[f"{rnn}.weight_ih"] * half[:, None]).T)
        self._memory = np.ascontiguousarray((weights[f"{rnn}.weight_hh"] * half[:, None]).T)
        self._bias = (weights[f"{rnn}.bias_ih"] + weights[f"{rnn}.bias_hh"]) * half
        self._sum = weights["model.decoder.decoder.2.weight"].reshape(_HIDDEN)
        self._offset = weights["model.decoder.decoder.2.bias"][0]

    def drive(self, chunks: Array) -> Array:
        """What chunks with their context, shape (n, 576), do to the LSTM's gates: (n, 512)."""
        n = len(chunks)
        padded = np.empty((n, chunks.shape[1] + _CONTEXT), dtype=np.float32)
        padded[:, :-_CONTEXT] = chunks
        padded[:, -_CONTEXT:] = chunks[:, -2 : -2 - _CONTEXT : -1]  # its mirror image
        # Overlapping views; sliding_window_view makes the same in ten times the time.
        steps = padded.strides[0], _SHIFT * padded.itemsize, padded.itemsize
        frames = np.ndarray((n, _FRAMES, _SPECTRUM), np.float32, padded, 0, steps)
        waves = frames.reshape(n * _FRAMES, _SPECTRUM) @ self._basis
        np.square(waves, out=waves)
        power = waves[:, : self._bins] + waves[:, self._bins :]
        spectra: Array = np.sqrt(power).reshape(n, _FRAMES, self._bins)

        bins, kernel = self._bins, self._first
        taps: Array = np.zeros((n, _FRAMES, 3, bins), dtype=np.float32)
        taps[:, 1:, 0], taps[:, :, 1], taps[:, :-1, 2] = spectra[:, :-1], spectra, spectra[:, 1:]
        found = _linear(taps.reshape(-1, 3 * bins), *kernel).reshape(n, _FRAMES, -1)

        width = found.shape[2]
        taps = np.zeros((n, 2, 3, width), dtype=np.float32)
        taps[:, 0, 1:], taps[:, 1] = found[:, :2], found[:, 1:]
        halved = _linear(taps.reshape(n * 2, 3 * width), *self._second).reshape(n, -1)
        driven: Array = _linear(_linear(halved, *self._third), *self._fourth) @ self._input
        driven += self._bias
        return driven

    def step(self, driven: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
        """One step of the LSTM cell: rows of `drive` and as many memories, shape (n, 128) or
        (128,), to the next memories."""
        gates = np.tanh(driven + hidden @ self._memory)
        enter, forget, new, leave = (gates[..., n * _HIDDEN : (n + 1) * _HIDDEN] for n in range(4))
        half = np.float32(0.5)
        kept: Array = half * ((forget + 1) * cell + (enter + 1) * new)
        told: Array = half * (leave + 1) * np.tanh(kept)
        return told, kept

    def judge(self, hidden: Array) -> Array:
        """The probability of speech by the LSTM's memory."""
        logit = np.maximum(hidden, 0) @ self._sum + self._offset
        judged: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * logit) + 1)
        return judged


def _linear(inputs: Array, weights: Array, bias: Array) -> Array:
    """A layer with ReLU."""
    found: Array = inputs @ weights
    found += bias
    np.maximum(found, 0, out=found)
    return found
