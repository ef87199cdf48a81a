"""PyTorch on the processor, an NVIDIA card or Apple's."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from daemon.errors import UserError
from daemon.model.backends.base import Backend
from daemon.model.backends.reusing import Reusing
from daemon.model.info import ModelInfo
from daemon.model.network import Scores, build_network, parted
from daemon.model.overlap import Overlap


class TorchBackend:
    """A network from a tensor to a tensor, in one precision on one device.

    Threads are torch's, which it keeps a process: the last one opened decides.
    """

    def __init__(
        self, network: torch.nn.Module, device: torch.device, dtype: torch.dtype, threads: int
    ) -> None:
        if device.type == "cpu":
            torch.set_num_threads(threads)
        with contextlib.suppress(RuntimeError):  # can be set once only, and before any work
            torch.set_num_interop_threads(1)
        self._network = network.to(device=device, dtype=dtype)
        self._device = device
        self._dtype = dtype
        precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
        self.name = f"torch {precision} {device.type}"

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batch = torch.from_numpy(inputs).to(device=self._device, dtype=self._dtype)
            found: torch.Tensor = self._network(batch)
            return found.to(device="cpu", dtype=torch.float32).numpy()


def open_torch(
    info: ModelInfo,
    weights: Path,
    threads: int,
    *,
    overlap: Overlap | None = None,
    device: str = "",
    bf16: bool = False,
) -> Backend:
    """The model of `info` under torch; on the fastest device if `device` is empty. On the processor
    frames of windows with this `overlap` are computed once; elsewhere that takes longer to fetch
    and bring back.

    Raises `UserError` where the device is not there or the model can't be built.
    """
    dtype = torch.bfloat16 if bf16 else torch.float32
    network, place = build_network(info, weights), find_device(device)
    if overlap is None or place.type != "cpu":
        return TorchBackend(Scores(network).eval(), place, dtype, threads)
    parts = [TorchBackend(part, place, dtype, threads) for part in parted(network)]
    return Reusing(parts[0], parts[1], overlap)


def find_device(name: str = "") -> torch.device:
    """The torch device `name`, or CUDA, Apple's Metal or the processor, whichever is there first.

    Raises `UserError` if `name` is not there.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not name:
        name = next((kind for kind, there in present.items() if there), "cpu")
    elif not present.get(name, True):
        raise UserError(f'there is no {name} device for torch here; use model.backend = "auto"')
    return torch.device(name)
