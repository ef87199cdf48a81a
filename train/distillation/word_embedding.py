"""EfficientWord-Net's embedding of spoken words, as a teacher.

A ResNet-50 that was trained with ArcFace on the Multilingual Spoken Words Corpus (Ant-Brain,
Apache-2.0; corpus CC BY 4.0). Windows of 1.5 s become unit vectors of 2,048 numbers, near each
other for one word in different voices. It makes weights, and is never needed to run or to finetune
them.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.model.verifier.filterbank import (
    BANDS,
    FRAMES,
    LEVEL,
    SOUND,
    log_filterbank,
    noise_floor,
)
from train.augment import Audio, rms

NAME = "efficientword-net"
NEEDED = "pip install --no-deps efficientword-net==1.0.5"
WIDTH = 2048
FILE = "models/resnet_50_arc/slim_93%_accuracy_72.7390%.onnx"
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From features, shape (1, 1, 149, BANDS), to a vector, shape (1, width)."""


class WordEmbedding:
    """The network; vectors of windows."""

    def __init__(self, file: Path, threads: int) -> None:
        """Raises UserError if the file is no such network."""
        try:
            run, runtime = _openvino(file, threads), "openvino"
        except ImportError:
            run, runtime = _onnxruntime(file, threads), "onnxruntime"
        self._run = run
        self.runtime = runtime
        """Vectors differ a little between the two: OpenVINO computes in bfloat16 where the
        processor does, three times as fast, with a cosine of 0.9999 to float32."""
        try:
            self.width = self._run(np.zeros((1, 1, FRAMES, BANDS), np.float32)).shape[1]
        except Exception as error:
            # The runtimes' errors have no common class but Exception.
            raise UserError(
                f"The teacher {file} does not take {FRAMES} frames of {BANDS} log filterbank "
                f"energies; EfficientWord-Net's ResNet-50 is needed ({NEEDED})."
            ) from error
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()
        """SHA-256 of the file, in hexadecimal."""

    def vectors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, width), of windows in [-1, 1], shape (n, SOUND)."""
        made = np.empty((len(windows), self.width), np.float32)
        # The network takes one window at a time.
        for row, features in enumerate(log_filterbank(windows)):
            made[row] = self._run(features[None, None])[0]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made


def _openvino(file: Path, threads: int) -> Run:
    from daemon.model.backends.openvino_backend import core

    try:
        network = core().compile_model(str(file), "CPU", {"INFERENCE_NUM_THREADS": threads})
    except RuntimeError as error:
        raise UserError(f"The teacher {file} cannot be read as ONNX.") from error
    return lambda features: np.asarray(network([features])[0])


def _onnxruntime(file: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise UserError(f"The teacher {file} cannot be read as ONNX.") from error
    name = session.get_inputs()[0].name
    return lambda features: np.asarray(session.run(None, {name: features})[0])


def open_teacher(name: str, threads: int) -> WordEmbedding:
    """The teacher `name`: "efficientword-net", or a similar ONNX file.

    It has the same interface.

    Raises UserError if it is missing or is another network.
    """
    return WordEmbedding(weights_of(name), threads)


def weights_of(name: str) -> Path:
    """The ONNX file of the teacher `name`, see `open_teacher`."""
    if name != NAME:
        file = Path(name).expanduser()
        if not file.is_file():
            raise UserError(f"The teacher {name!r} is neither {NAME!r} nor an ONNX file.")
        return file
    # Found, not imported: the package itself needs PyAudio.
    found = importlib.util.find_spec("eff_word_net")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (file := Path(folder) / FILE).is_file():
            return file
    raise UserError(f"The teacher's weights are not installed: {NEEDED}.")


def windows_around(samples: Audio, centres: Sequence[int]) -> NDArray[np.float32]:
    """The teacher's windows around samples of a recording, shape (n, SOUND).

    The recording is at one level where there is one, and noise is everywhere.
    """
    windows = np.tile(noise_floor(), (len(centres), 1))
    gain = np.float32(LEVEL / rms(samples))
    for window, centre in zip(windows, centres, strict=True):
        start = centre - SOUND // 2
        first, last = max(0, start), min(len(samples), start + SOUND)
        if last > first:
            window[first - start : last - start] += gain * samples[first:last]
    return windows
