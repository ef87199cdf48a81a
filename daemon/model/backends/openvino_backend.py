"""OpenVINO on the processor, from the same graph as ONNX Runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.errors import UserError


class OpenVinoBackend:
    """An ONNX graph, computed in float32 or bfloat16 (fast on processors that have it)."""

    def __init__(self, graph: bytes, threads: int, *, bf16: bool = False) -> None:
        try:
            import openvino
        except ImportError:
            raise UserError(
                "the backend openvino needs its package; install it with "
                "pip install 'intentd[openvino]', or set model.backend = \"torch\""
            ) from None
        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        model = core.read_model(graph)
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self.name = f"openvino {'bf16' if bf16 else 'fp32'} cpu"

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        found = self._request.infer([inputs], share_inputs=True, share_outputs=True)
        # The request's own memory, which the next call writes to.
        logits: NDArray[np.float32] = np.array(found[0], dtype=np.float32)
        return logits
