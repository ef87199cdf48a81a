"""Silero VAD 6 (MIT, Silero Team) under ONNX Runtime, one thread, many streams at a time.

The network takes 512 samples at 16 kHz, preceded by the last 64 of the chunk before, and carries a
recurrent state of shape (2, 128) a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from daemon.windowing.gate import CHUNK, RATE

CONTEXT = 64
MODEL = files("daemon") / "bundled" / "silero_vad" / "silero_vad_16k_op15.onnx"


@dataclass(slots=True)
class SileroState:
    memory: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 128), np.float32))
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))


class Silero:
    """Speech probabilities; one ONNX session, shared by all streams."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A thread that spins while it waits would cost a core in a silent room.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            MODEL.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(RATE, np.int64)

    def new_state(self) -> SileroState:
        return SileroState()

    def run(self, states: Sequence[object], chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, shape (n,), for one chunk each of n streams, shape (n, 512)."""
        mine = [state for state in states if isinstance(state, SileroState)]
        frames = np.empty((len(mine), CONTEXT + CHUNK), np.float32)
        memory = np.empty((2, len(mine), 128), np.float32)
        for row, state in enumerate(mine):
            frames[row, :CONTEXT] = state.context
            memory[:, row] = state.memory
        frames[:, CONTEXT:] = chunks
        probabilities, after = self._session.run(
            None, {"input": frames, "state": memory, "sr": self._rate}
        )
        for row, state in enumerate(mine):
            state.memory = after[:, row]
            state.context = frames[row, -CONTEXT:].copy()
        result: NDArray[np.float32] = probabilities[:, 0]
        return result
