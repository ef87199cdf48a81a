"""Silero VAD, from the weights in daemon/bundled/silero_vad, in numpy.

The network is so small that a runtime spends most of its time on its 250 nodes rather than on
their sums; and as one graph it takes chunks one after the other, though only the last step, an
LSTM, has to. Here everything before the LSTM is computed for all chunks at once, of however many
streams and however long a stretch of each. Figures are in docs/speed.md.

The network, per chunk of 512 samples with the 64 before it: magnitudes of 4 short-time spectra of
256 samples, four convolutions over those, an LSTM cell, a weighted sum, a sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.vad.blas import one_thread
from daemon.vad.detector import CHUNK
from daemon.vad.gain import AutomaticGain, levels

_MODEL: Final = (
    Path(__file__).parent.parent / "bundled" / "silero_vad" / "silero_vad_16k.safetensors"
)
_CONTEXT: Final = 64
"""Samples of the chunk before that the network wants in front of each chunk."""
_HIDDEN: Final = 128
_SPECTRUM, _SHIFT, _FRAMES = 256, 128, 4
"""Samples of a spectrum and from one to the next, and how many a chunk has."""
_ONE, _HALF = np.float32(1), np.float32(0.5)
QUIET: Final = 0.1
"""Probability below which a chunk is certainly no speech."""
RESET_AFTER: Final = 62
"""Chunks in a row (2 s) below QUIET after which the network's memory is cleared.

Otherwise it stops detecting speech in steady noise (silero-vad's issue 725): of words spoken every
2.5 s in kitchen noise at 10 dB it detected 19 %; with its memory cleared after 1 or 2 s all, after
4 s 93 %. Of noise alone at most 4 % of windows passed either way.
"""

Array = NDArray[np.float32]


class _State:
    """One stream's gain, context and LSTM state."""

    __slots__ = ("cell", "context", "gain", "hidden", "quiet")

    def __init__(self) -> None:
        self.gain = AutomaticGain()
        self.context = np.zeros(_CONTEXT, dtype=np.float32)  # as it came, without gain
        self.hidden = np.zeros(_HIDDEN, dtype=np.float32)
        self.cell = np.zeros(_HIDDEN, dtype=np.float32)
        self.quiet = 0

    def count_quiet(self, probability: float) -> None:
        """Clear the memory after RESET_AFTER quiet chunks in a row."""
        self.quiet = self.quiet + 1 if probability < QUIET else 0
        if self.quiet >= RESET_AFTER:
            self.hidden = np.zeros(_HIDDEN, dtype=np.float32)
            self.cell = np.zeros(_HIDDEN, dtype=np.float32)
            self.quiet = 0


class SileroDetector:
    """Probability of speech by Silero VAD 6."""

    def __init__(self) -> None:
        """Reads the weights. Raises UserError if their file is missing or damaged."""
        one_thread()
        try:
            self._network = _Network(load_file(_MODEL))
        except (OSError, SafetensorError, ValueError, KeyError):
            raise UserError(
                f"the silero gate's network {_MODEL} is missing or damaged: install intentd again "
                "or set gate.kind to energy"
            ) from None

    def new_state(self) -> _State:
        """The state of a stream that begins."""
        return _State()

    def probabilities(self, chunks: Array, states: Sequence[object]) -> Array:
        """Shape (n,), 0 to 1, of chunks (n, 512); see `Detector`."""
        places: dict[int, list[int]] = {}  # of each stream in `chunks`, in order
        for place, state in enumerate(states):
            places.setdefault(id(state), []).append(place)
        given = np.empty((len(chunks), _CONTEXT + CHUNK), dtype=np.float32)
        given[:, _CONTEXT:] = chunks
        for own in places.values():
            state = states[own[0]]
            assert isinstance(state, _State)
            given[own[0], :_CONTEXT] = state.context
            given[own[1:], :_CONTEXT] = chunks[own[:-1], -_CONTEXT:]
            state.context = chunks[own[-1], -_CONTEXT:].copy()
        given *= self._gains(chunks, states)[:, None]
        encoded = self._network.encode(given)
        if len(places) == 1:
            return self._follow(encoded, states[0])
        found = np.empty(len(chunks), dtype=np.float32)
        for turn in zip_longest(*places.values()):  # each stream's first, its second, …
            now = [place for place in turn if place is not None]
            self._step(encoded, now, [states[place] for place in now], found)
        return found

    @staticmethod
    def _gains(chunks: Array, states: Sequence[object]) -> Array:
        """The gain of each chunk, shape (n,)."""
        gains = np.empty(len(chunks), dtype=np.float32)
        for place, (state, level, peak) in enumerate(zip(states, *levels(chunks), strict=True)):
            assert isinstance(state, _State)
            gains[place] = state.gain.update(level, peak, CHUNK / RATE)
        return gains

    def _follow(self, encoded: Array, state: object) -> Array:
        """Probabilities, shape (n,), of chunks of one stream in order."""
        assert isinstance(state, _State)
        found = np.empty(len(encoded), dtype=np.float32)
        at = 0
        while at < len(encoded):
            # Memory is cleared at the earliest once so many more chunks were quiet.
            part = encoded[at : at + RESET_AFTER - state.quiet]
            hidden = self._network.steps(part, state.hidden, state.cell)
            state.hidden = hidden[-1].copy()
            found[at : at + len(part)] = self._network.probability(hidden)
            for probability in found[at : at + len(part)].tolist():
                state.count_quiet(probability)
            at += len(part)
        return found

    def _step(
        self, encoded: Array, places: list[int], states: Sequence[object], found: Array
    ) -> None:
        """The LSTM's step for one chunk of each of these streams."""
        hidden, cell = self._network.step(
            encoded[places],
            np.stack([state.hidden for state in states]),  # type: ignore[attr-defined]
            np.stack([state.cell for state in states]),  # type: ignore[attr-defined]
        )
        found[places] = self._network.probability(hidden)
        for row, (place, state) in enumerate(zip(places, states, strict=True)):
            assert isinstance(state, _State)
            state.hidden, state.cell = hidden[row].copy(), cell[row].copy()
            state.count_quiet(float(found[place]))


class _Network:
    """The layers."""

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
        # The third layer has two frames behind one of padding, the fourth one between two.
        self._third = np.ascontiguousarray(third[1:].reshape(-1, third.shape[2])), b2
        self._fourth = np.ascontiguousarray(fourth[1]), b3
        rnn = "model.decoder.rnn"
        # The gates' order is that of the file: input, forget, cell, output. A sigmoid is half a
        # tanh and a half; with their weights halved one tanh serves all four gates.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), _HIDDEN)
        self._input_weights = np.ascontiguousarray((weights[f"{rnn}.weight_ih"] * half[:, None]).T)
        self._hidden_weights = np.ascontiguousarray((weights[f"{rnn}.weight_hh"] * half[:, None]).T)
        self._bias = (weights[f"{rnn}.bias_ih"] + weights[f"{rnn}.bias_hh"]) * half
        self._output_weights = weights["model.decoder.decoder.2.weight"].reshape(_HIDDEN)
        self._output_bias = weights["model.decoder.decoder.2.bias"][0]

    def encode(self, chunks: Array) -> Array:
        """Input part of the LSTM's gates, (n, 512), of chunks, (n, 576)."""
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
        encoded: Array = _linear(_linear(halved, *self._third), *self._fourth) @ self._input_weights
        encoded += self._bias
        return encoded

    def step(self, encoded: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
        """One step of the LSTM: the next hidden states and cells.

        `encoded`: rows of `encode`, shape (n, 512). Hidden states and cells: (n, 128).
        """
        gates = hidden @ self._hidden_weights
        gates += encoded
        next_cell, next_hidden = cell.copy(), np.empty_like(hidden)
        _update(np.split(gates, 4, axis=-1), gates, next_cell, next_hidden)
        return next_hidden, next_cell

    def steps(self, encoded: Array, hidden: Array, cell: Array) -> Array:
        """Hidden states, shape (n, 128), after steps through rows of `encode`.

        The rows are steps of one stream, in order.

        `cell`, shape (128,), becomes the last one.
        """
        found = np.empty((len(encoded), _HIDDEN), dtype=np.float32)
        gates = np.empty(4 * _HIDDEN, dtype=np.float32)
        parts = np.split(gates, 4)
        for row, next_hidden in zip(encoded, found, strict=True):
            np.dot(hidden, self._hidden_weights, out=gates)
            np.add(row, gates, out=gates)
            _update(parts, gates, cell, next_hidden)
            hidden = next_hidden
        return found

    def probability(self, hidden: Array) -> Array:
        """The probability of speech, shape (n,) or (), of hidden states."""
        logit = np.maximum(hidden, 0) @ self._output_weights + self._output_bias
        found: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * logit) + 1)
        return found


def _update(parts: Sequence[Array], gates: Array, cell: Array, hidden: Array) -> None:
    """Update an LSTM's cell and hidden state in place.

    `gates`: the four gates before their tanh, which are overwritten; `parts` are views of them.
    """
    input_gate, forget_gate, cell_gate, output_gate = parts
    np.tanh(gates, out=gates)
    forget_gate += _ONE
    cell *= forget_gate
    input_gate += _ONE
    input_gate *= cell_gate
    cell += input_gate
    cell *= _HALF
    output_gate += _ONE
    output_gate *= _HALF
    np.tanh(cell, out=hidden)
    hidden *= output_gate


def _linear(inputs: Array, weights: Array, bias: Array) -> Array:
    """A layer with ReLU."""
    found: Array = inputs @ weights
    found += bias
    np.maximum(found, 0, out=found)
    return found
