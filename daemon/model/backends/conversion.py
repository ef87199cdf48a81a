"""A model as an ONNX graph, made once of its checkpoint and kept in the user's cache.

The entry's name is a digest of everything that the graph depends on: the model's files, the
packages that convert, and this module's own version. So a stale entry is never found, a damaged
one (its own digest stands in its first line) is made anew, and two processes that convert at once
write the same thing, each to a file of its own that takes its place in one step.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

from daemon.errors import UserError
from daemon.model.cores import let_threads_sleep
from daemon.model.files import CONFIG, PREPROCESSOR
from daemon.model.info import ModelInfo

VERSION = 1
"""To be raised when graphs come out otherwise."""
OPSET = 17
KEPT = 8
"""Entries; the least recently used ones beyond that are deleted."""
TOLERANCE = 1e-4
"""Largest difference of a logit between the graph and torch in float32, relative to the largest."""
INPUT, OUTPUT = "input", "logits"

_MAGIC = b"intentd onnx "
_SUFFIX = ".graph"
_LARGEST = 1 << 31
"""Bytes that a protocol buffer can have."""


def graph(info: ModelInfo, weights: Path, window: int) -> bytes:
    """The ONNX graph of the model in `info` for windows of `window` samples, any batch: input
    "input" (n, …), as `Features.prepare` gives it, output "logits" (n, labels), float32.

    Raises `UserError` if the model can't be converted, or the converter is not installed.
    """
    entry = cache_directory() / (_key(info, weights, window) + _SUFFIX)
    found = _read(entry)
    if found is None:
        found = _convert(info, weights, window)
        _write(entry, found)
    return found


def cache_directory() -> Path:
    """Where graphs are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("intentd", appauthor=False) / "graphs"


def _key(info: ModelInfo, weights: Path, window: int) -> str:
    digest = hashlib.sha256()
    parts = [str(VERSION), str(OPSET), str(window)]
    parts += [_version(package) for package in ("torch", "transformers")]
    digest.update("\0".join(parts).encode())
    for path in (info.directory / CONFIG, info.directory / PREPROCESSOR, weights):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


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
    """Keep a graph. A cache that can't be written costs the next start some seconds, no more."""
    first = _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n"
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=entry.parent, prefix=".new-", delete=False) as file:
            try:
                file.write(first + content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                Path(file.name).unlink()
                raise
        Path(file.name).replace(entry)
        _forget(entry.parent)


def _forget(directory: Path) -> None:
    entries = sorted(directory.glob(f"*{_SUFFIX}"), key=lambda e: e.stat().st_mtime, reverse=True)
    for entry in entries[KEPT:]:
        entry.unlink(missing_ok=True)


def _convert(info: ModelInfo, weights: Path, window: int) -> bytes:
    if importlib.util.find_spec("onnx") is None:
        raise UserError(
            "to run a model by its graph the package onnx must convert it once; "
            "install it with pip install 'intentd[onnx]', or set model.backend = \"torch\""
        )
    let_threads_sleep()
    import torch

    from daemon.model.features import open_features
    from daemon.model.network import build_network

    class Scores(torch.nn.Module):
        """The network with plain tensors for input and output."""

        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(batch).logits
            return logits

    network = Scores(build_network(info, weights)).eval()
    batch = open_features(info, window, 4).prepare(_probe(window)).copy()
    example = torch.from_numpy(batch)
    made = io.BytesIO()
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, whose result is compared below
            expected = network(example).numpy()
            torch.onnx.export(
                network,
                (example[:2],),
                made,  # type: ignore[arg-type]  # any file will do
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            )
    except Exception as error:
        raise UserError(
            f"the model {info.directory} can't be converted to a graph "
            f"({(str(error).splitlines() or [type(error).__name__])[0][:200]}); "
            "set model.backend = \"torch\""
        ) from None
    content = made.getvalue()
    difference = _difference(content, batch, expected)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the graph of the model {info.directory} differs from torch by {difference:.1e}, "
            f"more than {TOLERANCE:g}; set model.backend = \"torch\""
        )
    return content


def _probe(window: int) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Four sounds to compare by: silence, noises soft and loud, a tone."""
    noise = np.random.default_rng(0).standard_normal(window).astype(np.float32)
    tone = np.sin(np.arange(window, dtype=np.float32) * np.float32(0.2))
    return [np.zeros(window, np.float32), noise * np.float32(0.003), noise * np.float32(0.3), tone]


def _difference(
    content: bytes,
    batch: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> float:
    """Largest difference between graph and torch, in one batch and one by one."""
    from daemon.model.backends.onnx_backend import OnnxBackend

    backend = OnnxBackend(content, threads=1)
    rows = [backend.run(batch), np.concatenate([backend.run(batch[n : n + 1]) for n in range(4)])]
    scale = max(1.0, float(np.abs(expected).max()))
    return max(float(np.abs(row - expected).max()) for row in rows) / scale
