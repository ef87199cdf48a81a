"""Silero VAD under onnxruntime: the file in daemon/bundled/silero_vad, one thread, batched.

About 0.19 ms of one core a chunk of 32 ms, 0.08 ms in a batch of a hundred streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.errors import UserError
from daemon.windowing.gate import CHUNK
from daemon.windowing.resample import RATE

_MODEL: Final = Path(__file__).parent.parent / "bundled" / "silero_vad" / "silero_vad_16k_op15.onnx"
_CONTEXT: Final = 64
"""Samples of the chunk before that the network wants in front of each chunk."""
_STATE: Final = (2, 128)
QUIET: Final = 0.1
"""Probability below which a chunk is surely no speech."""
FORGET_AFTER: Final = 62
"""Chunks in a row (2 s) below QUIET after which the network's memory is cleared.

Left alone in noise it goes deaf (silero-vad's issue 725): of words spoken every 2.5 s into kitchen
noise at 10 dB it heard 19 %, with its memory cleared after 1 or 2 s all, after 4 s 93 %; of noise
alone at most 4 % of windows passed either way.
"""


class _State:
    """What one stream's chunks so far have left behind."""

    __slots__ = ("context", "memory", "quiet")

    def __init__(self) -> None:
        self.context = np.zeros(_CONTEXT, dtype=np.float32)
        self.memory = np.zeros(_STATE, dtype=np.float32)
        self.quiet = 0

    def hear(self, probability: float) -> None:
        self.quiet = self.quiet + 1 if probability < QUIET else 0
        if self.quiet >= FORGET_AFTER:
            self.memory[:] = 0.0
            self.quiet = 0


class SileroDetector:
    """Probability of speech by Silero VAD 6."""

    def __init__(self) -> None:
        """Loads the network (0.1 s). Raises UserError if onnxruntime or the file is missing."""
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f"the silero gate needs onnxruntime, which can't be imported here ({error}): "
                "install it or set gate.kind to energy"
            ) from None
        if not _MODEL.is_file():
            raise UserError(
                f"the silero gate's network {_MODEL} is missing: install intentd again or set "
                "gate.kind to energy"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(_MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(RATE, dtype=np.int64)

    def new_state(self) -> _State:
        """A stream that begins."""
        return _State()

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        """Shape (n,), 0 to 1, of chunks (n, 512); see `Detector`."""
        n = len(chunks)
        given = np.empty((n, _CONTEXT + CHUNK), dtype=np.float32)
        memory = np.empty((2, n, 128), dtype=np.float32)
        for i, state in enumerate(states):
            assert isinstance(state, _State)
            given[i, :_CONTEXT] = state.context
            memory[:, i] = state.memory
        given[:, _CONTEXT:] = chunks
        output, left = self._session.run(
            ["output", "stateN"], {"input": given, "state": memory, "sr": self._rate}
        )
        for i, state in enumerate(states):
            assert isinstance(state, _State)
            state.context[:] = chunks[i, -_CONTEXT:]
            state.memory[:] = left[:, i]
            state.hear(float(output[i, 0]))
        found: NDArray[np.float32] = output[:, 0]
        return found
