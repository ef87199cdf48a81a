"""OpenVINO on the processor, from the same graph as ONNX Runtime."""

from __future__ import annotations

import sys
import threading
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.signal_stack import kept_signal_stack

_CONVERTER = "openvino.tools.ovc"


def _import_openvino() -> ModuleType:
    """Import openvino without its converter, which reports usage.

    It does so over the network.

    openvino treats the converter as not installed.
    """
    if "openvino" not in sys.modules and _CONVERTER not in sys.modules:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules[_CONVERTER]
    import openvino

    return openvino  # type: ignore[no-any-return]


@cache
def core() -> Any:
    """The process's one openvino.Core, never released.

    Raises: ImportError without openvino.

    Its CPU plugin, which is loaded here, gives the thread that loads it an alternate signal stack
    with room for one signal only, and frees that in whatever thread releases the last Core.
    """
    made = _import_openvino().Core()
    with kept_signal_stack():
        made.get_versions("CPU")
    return made


class OpenVinoBackend:
    """ONNX graph run by OpenVINO in float32 or bfloat16 (fast with AMX)."""

    def __init__(
        self, graph: bytes, threads: int, *, bf16: bool = False, parallel: int = 1
    ) -> None:
        """A backend for `parallel` threads that call `run` at once.

        Each with `threads` of OpenVINO's.
        """
        options = {
            "INFERENCE_NUM_THREADS": threads * parallel,
            "NUM_STREAMS": parallel,
            "PERFORMANCE_HINT": "LATENCY",
            # A thread tied to a core waits for as long as somebody else keeps that core busy.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        model = core().read_model(graph)
        self._compiled = core().compile_model(model, "CPU", options)
        self._requests = threading.local()
        self.name = f"openvino {'bf16' if bf16 else 'fp32'} cpu"

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        request = getattr(self._requests, "mine", None)
        if request is None:
            request = self._requests.mine = self._compiled.create_infer_request()
        found = request.infer([inputs], share_inputs=True, share_outputs=True)
        # The request's own memory, which the next call writes to.
        logits: NDArray[np.float32] = np.array(found[0], dtype=np.float32)
        return logits
