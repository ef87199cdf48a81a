"""The table of backends.

With one entry here a backend can be named and is tried by "auto".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daemon.base.errors import UserError
from daemon.model.backends.base import Backend
from daemon.model.backends.conversion import Part, graph, is_cached
from daemon.model.backends.job import Job
from daemon.model.cores import SMALL, accelerators, has_fast_bf16, let_threads_sleep

AUTO: Final = "auto"
REFERENCE: Final = "torch-cpu"
"""The backend that the others are compared with."""


@dataclass(frozen=True, slots=True)
class BackendKind:
    """One backend."""

    name: str
    package: str
    """The package that it runs on."""
    open: Callable[[Job], Backend]
    """Imports the package. Raises `UserError` where it is missing or the weights don't fit."""
    worth_trying: Callable[[Job], bool]
    """Whether "auto" should try it on this machine and model, the package being installed."""
    extra: str = ""
    """The extra of intentd that brings the package, for example "[onnx]"."""


def _torch(job: Job, device: str = "", bf16: bool = False) -> Backend:
    let_threads_sleep()
    from daemon.model.backends.torch_backend import open_torch

    return open_torch(
        job.info,
        job.weights,
        job.threads,
        job.window,
        overlap=job.overlap,
        remember=not job.parallel,
        device=device,
        bf16=bf16,
    )


def _onnx(job: Job) -> Backend:
    from daemon.model.backends.onnx_backend import OnnxBackend

    overlap = job.overlap
    if overlap is None:
        return OnnxBackend(graph(job.info, job.weights, job.window), job.threads)
    from daemon.model.backends.reusing import Reusing

    parts = [
        OnnxBackend(graph(job.info, job.weights, job.window, part), job.threads)
        for part in (Part.CONVOLUTIONS, Part.REST)
    ]
    return Reusing(parts[0], parts[1], overlap, remember=not job.parallel)


def _onnx_int8(job: Job) -> Backend:
    from daemon.model.backends.onnx_backend import OnnxInt8Backend

    return OnnxInt8Backend(graph(job.info, job.weights, job.window, Part.INT8), job.threads)


def _openvino(job: Job, bf16: bool = False) -> Backend:
    from daemon.model.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(
        graph(job.info, job.weights, job.window),
        job.threads,
        bf16=bf16,
        parallel=max(1, job.parallel),
    )


def _has_graph(job: Job, *parts: Part) -> bool:
    """Whether the graph, or each of its parts, is there or can be made."""
    return _installed("onnx") or all(
        is_cached(job.info, job.weights, job.window, part) for part in parts or (Part.WHOLE,)
    )


def _has_onnx_graph(job: Job) -> bool:
    return _has_graph(job, *((Part.CONVOLUTIONS, Part.REST) if job.overlap is not None else ()))


def _int8_pays(job: Job) -> bool:
    # A small model's matrices are read fast enough as they are.
    return job.weights.stat().st_size > SMALL and _has_onnx_graph(job)


BACKENDS: Final = (
    BackendKind("torch", "torch", _torch, lambda _: bool(accelerators())),
    BackendKind(REFERENCE, "torch", lambda job: _torch(job, "cpu"), lambda _: True),
    BackendKind(
        "torch-bf16", "torch", lambda job: _torch(job, "cpu", bf16=True), lambda _: has_fast_bf16()
    ),
    BackendKind("onnx", "onnxruntime", _onnx, _has_onnx_graph, "[onnx]"),
    BackendKind("onnx-int8", "onnxruntime", _onnx_int8, _int8_pays, "[onnx]"),
    BackendKind("openvino", "openvino", _openvino, _has_graph, "[openvino]"),
    BackendKind(
        "openvino-bf16",
        "openvino",
        lambda job: _openvino(job, bf16=True),
        lambda job: has_fast_bf16() and _has_graph(job),
        "[openvino]",
    ),
)


def backend_names() -> tuple[str, ...]:
    """The allowed values of `[model] backend`."""
    return (AUTO, *(kind.name for kind in BACKENDS))


def open_backend(name: str, job: Job) -> Backend:
    """Open the backend `name`, one of `backend_names()` but "auto".

    Raises: UserError where there is no such backend, it is not available here, or the weights don't
    fit.
    """
    for kind in BACKENDS:
        if kind.name == name:
            if not _installed(kind.package):
                raise UserError(
                    f"the backend {name} needs {kind.package}, which is not installed: "
                    f"pip install 'intentd{kind.extra}', or set model.backend = \"torch\""
                )
            return kind.open(job)
    raise UserError(
        f"there is no backend {name!r:.60}; model.backend must be one of "
        f"{', '.join(backend_names())}"
    )


def candidates(job: Job) -> list[str]:
    """Backends that are worth a trial here, the reference first."""
    found = [kind.name for kind in BACKENDS if _installed(kind.package) and kind.worth_trying(job)]
    return sorted(found, key=lambda name: name != REFERENCE)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
