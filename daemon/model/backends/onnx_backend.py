"""ONNX Runtime on the processor, without torch if the graph is cached."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class OnnxBackend:
    """ONNX graph in float32, on threads that sleep when idle."""

    name = "onnxruntime fp32 cpu"

    def __init__(self, graph: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between two windows would keep a core busy in a silent room.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(None, {self._input: inputs})[0]
        return logits


class OnnxInt8Backend(OnnxBackend):
    """ONNX graph with matrix products in int8, run window by window.

    The range of the dynamic quantisation is that of the whole batch, so in a batch a window's
    scores would depend on the other windows.
    """

    name = "onnxruntime int8 cpu"

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = [super(OnnxInt8Backend, self).run(inputs[n : n + 1]) for n in range(len(inputs))]
        return np.concatenate(rows)
