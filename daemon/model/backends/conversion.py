"""Conversion of a checkpoint to an ONNX graph, cached in the user's cache.

The entry's name is a digest of everything that the graph depends on: the model's weights and its
architecture, the converting packages, and this module's version. So a stale entry is never found,
a damaged one (its first line holds its digest) is converted again, and two processes that convert
at once write the same content, each to a separate file that is renamed into place.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError, first_line
from daemon.model import cache
from daemon.model.cores import let_threads_sleep
from daemon.model.description.fields import read_json
from daemon.model.description.files import CONFIG, MAX_CONFIG_BYTES
from daemon.model.description.info import ModelInfo

log = logging.getLogger(__name__)

VERSION = 1
"""To be raised when graphs come out otherwise."""
OPSET = 17
KEPT = 16
"""Entries; the least recently used ones beyond that are deleted."""
TOLERANCE = 1e-4
"""Largest difference of a logit between the graph and torch in float32, relative to the largest."""
INPUT, OUTPUT = "input", "logits"

_SHAPELESS = frozenset(
    {
        "intentd",
        "id2label",
        "label2id",
        "architectures",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "_name_or_path",
        "problem_type",
    }
)
"""Keys of config.json that the graph does not depend on, but for the number of labels."""
_MAGIC = b"intentd onnx "
_SUFFIX = ".graph"
_LARGEST = 1 << 31
"""Bytes that a protocol buffer can have."""


class Part(enum.Enum):
    """Part of a network that a graph computes."""

    WHOLE = ""
    """From "input" (n, …), as `Features.prepare` gives it, to "logits" (n, labels)."""
    INT8 = "int8"
    """The same with matrix products in 8-bit integers: weights rounded once, a scale each, what
    they are multiplied with rounded again in every run, by its own range."""
    CONVOLUTIONS = "convolutions"
    """From samples (n, m), any m, to frames (n, channels, f); see `network.split_network`."""
    REST = "rest"
    """From the frames of windows to logits."""


def graph(info: ModelInfo, weights: Path, window: int, part: Part = Part.WHOLE) -> bytes:
    """ONNX graph of a model for windows of `window` samples, any batch size.

    Float32 in and out.

    Raises:
        UserError: the model can't be converted, or the converter is not installed.
    """
    found = _read(_entry(info, weights, window, part))
    if found is None:
        made: dict[Part, bytes] = (
            {part: _quantized(graph(info, weights, window))}
            if part is Part.INT8
            else _convert(info, weights, window, in_parts=part is not Part.WHOLE)
        )
        for each, content in made.items():
            _write(_entry(info, weights, window, each), content)
        found = made[part]
    return found


def cache_directory() -> Path:
    """Cache directory of the graphs."""
    return cache.directory("graphs")


def is_cached(info: ModelInfo, weights: Path, window: int, part: Part = Part.WHOLE) -> bool:
    """True if the graph is in the cache, where it may still be damaged."""
    return _entry(info, weights, window, part).is_file()


def key(info: ModelInfo, weights: Path, window: int) -> str:
    """Digest of everything that the graph depends on.

    Thresholds and label names are left out, so editing them in config.json converts nothing.
    """
    table = read_json(info.directory / CONFIG, MAX_CONFIG_BYTES)
    shape = {name: value for name, value in table.items() if name not in _SHAPELESS}
    parts = [str(VERSION), str(OPSET), str(window), str(len(info.labels))]
    parts += [cache.version(package) for package in ("torch", "transformers")]
    parts += [json.dumps(shape, sort_keys=True), cache.file_digest(weights)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _entry(info: ModelInfo, weights: Path, window: int, part: Part) -> Path:
    name = key(info, weights, window)
    if part.value:
        name += f"-{part.value}"
    if part is Part.INT8:
        name += f"-{cache.version('onnxruntime')}"
    return cache_directory() / (name + _SUFFIX)


def _read(entry: Path) -> bytes | None:
    """The graph of an entry that is whole, else None."""
    try:
        with entry.open("rb") as file:
            first = file.readline(len(_MAGIC) + 65)
            content = file.read(_LARGEST)
        if first != _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n":
            return None
        entry.touch()  # recently used
    except OSError:
        return None
    return content


def _write(entry: Path, content: bytes) -> None:
    """Store a graph; an unwritable cache means a conversion at each start."""
    first = _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n"
    cache.put(entry, first + content, keep=KEPT)


def _quantized(content: bytes) -> bytes:
    _need_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="intentd-int8-") as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        logging.disable(logging.WARNING)  # advice to the developer, on the root logger
        try:
            # Convolutions in int8 took longer than in float32.
            quantize_dynamic(
                source, made, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
            )
        finally:
            logging.disable(logging.NOTSET)
        return made.read_bytes()


def _need_onnx() -> None:
    if importlib.util.find_spec("onnx") is None:
        raise UserError(
            "to run a model by its graph the package onnx must convert it once; "
            "install it with pip install 'intentd[onnx]', or set model.backend = \"torch\""
        )


def _convert(info: ModelInfo, weights: Path, window: int, *, in_parts: bool) -> dict[Part, bytes]:
    _need_onnx()
    log.info("converting %s to a graph for windows of %d samples", info.directory, window)
    let_threads_sleep()
    import torch

    from daemon.model.features import open_features
    from daemon.model.network import Scores, build_network, quiet, split_network

    network = build_network(info, weights)
    batch = open_features(info).prepare(_probe(window))
    value = torch.from_numpy(batch)
    made: dict[Part, bytes] = {}
    try:
        with torch.inference_mode(), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, whose result is compared below
            scores = Scores(network).eval()
            expected = scores(value).numpy()
            parts: dict[Part, torch.nn.Module] = {Part.WHOLE: scores}
            if in_parts:
                parts = dict(
                    zip((Part.CONVOLUTIONS, Part.REST), split_network(network), strict=True)
                )
            for part, module in parts.items():
                made[part] = _exported(module, value[:2], part)
                value = module(value)
    except Exception as error:
        raise UserError(
            f"the model {info.directory} can't be converted to a graph "
            f"({first_line(error)}); "
            'set model.backend = "torch"'
        ) from None
    difference = _difference(list(made.values()), batch, expected)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the graph of the model {info.directory} differs from torch by {difference:.1e}, "
            f'more than {TOLERANCE:g}; set model.backend = "torch"'
        )
    return made


def _exported(module: Any, example: Any, part: Part) -> bytes:
    inputs, outputs = {0: "n"}, {0: "n"}
    if part is Part.CONVOLUTIONS:
        inputs[1], outputs[2] = "m", "f"
    return to_onnx(module, example, {INPUT: inputs, OUTPUT: outputs})


def to_onnx(module: Any, example: Any, axes: dict[str, dict[int, str]]) -> bytes:
    """A torch module with one input and one output as an ONNX file.

    Args:
        module: takes `example`.
        axes: names of the input and the output, each with its axes of any length: number to name.
    """
    import torch

    given, made = axes
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        file,  # type: ignore[arg-type]  # any file will do
        dynamo=False,
        opset_version=OPSET,
        input_names=[given],
        output_names=[made],
        dynamic_axes=axes,
    )
    return file.getvalue()


def _probe(window: int) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Four sounds to compare by: silence, noises soft and loud, a tone."""
    noise = np.random.default_rng(0).standard_normal(window).astype(np.float32)
    tone = np.sin(np.arange(window, dtype=np.float32) * np.float32(0.2))
    return [np.zeros(window, np.float32), noise * np.float32(0.003), noise * np.float32(0.3), tone]


def _difference(
    graphs: Sequence[bytes],
    batch: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> float:
    """Largest difference between graphs and torch, batched and one by one."""
    from daemon.model.backends.onnx_backend import OnnxBackend

    backends = [OnnxBackend(content, threads=1) for content in graphs]

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        for backend in backends:
            values = backend.run(values)
        return values

    rows = [run(batch), np.concatenate([run(batch[n : n + 1]) for n in range(4)])]
    scale = max(1.0, float(np.abs(expected).max()))
    return max(float(np.abs(row - expected).max()) for row in rows) / scale
