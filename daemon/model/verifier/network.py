"""EfficientWord-Net's network on ONNX Runtime: 1.5 s of sound to a vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError, first_line
from daemon.model.description.files import read_bytes
from daemon.model.verifier.filterbank import BANDS, FRAMES, at_one_level, log_filterbank

MAX_BYTES = 256 << 20


class WordEmbedding:
    """ResNet-50 trained on spoken words.

    Vectors of one word in different voices are near.
    """

    def __init__(self, file: Path, threads: int = 1, unpacked: bool = False) -> None:
        """Load an ONNX file.

        `unpacked`: its 8-bit weights become floats now and not in each run, which takes 18 ms on
        one core in place of 22 and 66 MB more; worth it where many windows are asked about.

        Raises:
            UserError: ONNX Runtime is missing, or the file is no such network.
        """
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "the verifier needs onnxruntime, which is not installed: pip install onnxruntime, "
                'or set model.verifier = "off"'
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # It works once in many seconds: threads that spin would keep a core busy in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if unpacked:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        content = read_bytes(file, MAX_BYTES)
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            self._input = self._session.get_inputs()[0].name
            self.width = self._run(np.zeros((FRAMES, BANDS), np.float32)).shape[0]
        except Exception as error:
            # ONNX Runtime's errors have no common class but Exception.
            raise UserError(
                f"{file} is not the network of a verifier, which takes {FRAMES} frames of {BANDS} "
                f"log filterbank energies ({first_line(error)}); copy the model again"
            ) from error

    def vectors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors (n, width) of sound of 1.5 s each, shape (n, SOUND)."""
        found = np.empty((len(windows), self.width), np.float32)
        # The network takes one at a time; so do the features, which take much memory.
        for row in range(len(windows)):
            found[row] = self._run(log_filterbank(at_one_level(windows[row : row + 1]))[0])
        return found

    def _run(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        vector = np.asarray(self._session.run(None, {self._input: features[None, None]})[0][0])
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
