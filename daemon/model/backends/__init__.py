"""Runtimes that can run a model, by name. Each is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from daemon.errors import UserError
from daemon.model.backends.base import Backend
from daemon.model.info import ModelInfo

__all__ = ["AUTO", "Backend", "backend_names", "open_backend"]

AUTO = "auto"


def _torch(info: ModelInfo, weights: Path, threads: int) -> Backend:
    from daemon.model.backends.torch_backend import open_torch

    return open_torch(info, weights, threads)


def _torch_cpu(info: ModelInfo, weights: Path, threads: int) -> Backend:
    from daemon.model.backends.torch_backend import open_torch

    return open_torch(info, weights, threads, device="cpu")


def _torch_bf16(info: ModelInfo, weights: Path, threads: int) -> Backend:
    from daemon.model.backends.torch_backend import open_torch

    return open_torch(info, weights, threads, bf16=True)


_OPENERS: dict[str, Callable[[ModelInfo, Path, int], Backend]] = {
    "torch": _torch,
    "torch-cpu": _torch_cpu,
    "torch-bf16": _torch_bf16,
}


def backend_names() -> tuple[str, ...]:
    """What `[model] backend` may be."""
    return (AUTO, *_OPENERS)


def open_backend(name: str, info: ModelInfo, weights: Path, threads: int) -> Backend:
    """Open the backend `name` on a model.

    Args:
        name: one of `backend_names()`; "auto" takes the fastest known to agree with float32.
        weights: the model's safetensors file.
        threads: of the processor, at least 1.

    Raises:
        UserError: no such backend, it is not available here, or the weights don't fit.
    """
    if name == AUTO:
        name = choose(info)
    if name not in _OPENERS:
        raise UserError(
            f"there is no backend {name!r:.60}; model.backend must be one of "
            f"{', '.join(backend_names())}"
        )
    return _OPENERS[name](info, weights, threads)


BF16_PAYS = 20_000_000
"""Parameters from which bf16 is faster: reading the weights then takes most of the time."""


def choose(info: ModelInfo) -> str:
    """The name that "auto" stands for, by the model's size and the processor alone, so that runs
    repeat."""
    from daemon.model.cores import has_fast_bf16

    if info.architecture.parameters >= BF16_PAYS and has_fast_bf16():
        return "torch-bf16"
    return "torch"
