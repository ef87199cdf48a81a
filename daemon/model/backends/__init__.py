"""Runtimes that can run a model, by name. Each is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.base.errors import UserError
from daemon.model.backends.base import Backend
from daemon.model.cores import default_threads, let_threads_sleep
from daemon.model.description.info import ModelInfo
from daemon.model.overlap import Overlap
from daemon.model.weights import find_weights

__all__ = ["AUTO", "Backend", "Job", "backend_names", "open_backend"]

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Job:
    """What a backend is opened on."""

    info: ModelInfo
    weights: Path
    """The model's safetensors file."""
    window: int
    """Samples of the windows it will be given."""
    threads: int
    """Of the processor, at least 1."""
    hop: int = 0
    """Samples from window to window where they follow each other; 0: they don't."""

    @classmethod
    def of(
        cls, info: ModelInfo, window_seconds: float | None, hop_seconds: float, threads: int
    ) -> Job:
        """With `threads` 0: as many as suit the model. Raises `UserError` if the model has no
        weights that can be used or can't take such windows."""
        weights = find_weights(info)
        return cls(
            info,
            weights,
            info.window_samples(window_seconds),
            threads or default_threads(weights.stat().st_size),
            round(hop_seconds * info.rate),
        )

    @property
    def overlap(self) -> Overlap | None:
        """Of windows that follow each other, where frames may be used again."""
        return Overlap.of(self.info, self.window, self.hop)


def _torch(job: Job, device: str = "", bf16: bool = False) -> Backend:
    let_threads_sleep()
    from daemon.model.backends.torch_backend import open_torch

    return open_torch(
        job.info,
        job.weights,
        job.threads,
        job.window,
        overlap=job.overlap,
        device=device,
        bf16=bf16,
    )


def _onnx(job: Job) -> Backend:
    from daemon.model.backends.conversion import Part, graph
    from daemon.model.backends.onnx_backend import OnnxBackend

    overlap = job.overlap
    if overlap is None:
        return OnnxBackend(graph(job.info, job.weights, job.window), job.threads)
    from daemon.model.backends.reusing import Reusing

    parts = [
        OnnxBackend(graph(job.info, job.weights, job.window, part), job.threads)
        for part in (Part.CONVOLUTIONS, Part.REST)
    ]
    return Reusing(parts[0], parts[1], overlap)


def _onnx_int8(job: Job) -> Backend:
    from daemon.model.backends.conversion import Part, graph
    from daemon.model.backends.onnx_backend import OnnxInt8Backend

    return OnnxInt8Backend(graph(job.info, job.weights, job.window, Part.INT8), job.threads)


def _openvino(job: Job, bf16: bool = False) -> Backend:
    from daemon.model.backends.conversion import graph
    from daemon.model.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(graph(job.info, job.weights, job.window), job.threads, bf16=bf16)


_OPENERS: dict[str, Callable[[Job], Backend]] = {
    "torch": _torch,
    "torch-cpu": lambda job: _torch(job, "cpu"),
    "torch-bf16": lambda job: _torch(job, "cpu", bf16=True),
    "onnx": _onnx,
    "onnx-int8": _onnx_int8,
    "openvino": _openvino,
    "openvino-bf16": lambda job: _openvino(job, bf16=True),
}


def backend_names() -> tuple[str, ...]:
    """What `[model] backend` may be."""
    return (AUTO, *_OPENERS)


def open_backend(name: str, job: Job) -> Backend:
    """Open the backend `name`, one of `backend_names()` but "auto", on a model.

    Raises `UserError` where there is no such backend, it is not available here, or the weights
    don't fit.
    """
    if name not in _OPENERS:
        raise UserError(
            f"there is no backend {name!r:.60}; model.backend must be one of "
            f"{', '.join(backend_names())}"
        )
    return _OPENERS[name](job)
