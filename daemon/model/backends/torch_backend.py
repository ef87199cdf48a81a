"""PyTorch on the processor, an NVIDIA card or Apple's."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.model.backends.base import Backend
from daemon.model.backends.reusing import Reusing
from daemon.model.cores import SMALL
from daemon.model.description.info import ModelInfo
from daemon.model.network import Scores, build_network, quiet, split_network
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
    window: int,
    *,
    overlap: Overlap | None = None,
    remember: bool = True,
    device: str = "",
    bf16: bool = False,
) -> Backend:
    """Open a model under torch for windows of `window` samples.

    `device`: empty for the fastest. On the processor, frames of windows with this `overlap` are
    computed once; on other devices copying them to and fro takes longer than computing them.
    `remember`: see `Reusing`.

    Raises:
        UserError: the device is not there, or the model can't be built.
    """
    dtype = torch.bfloat16 if bf16 else torch.float32
    network, place = build_network(info, weights), find_device(device)
    if place.type != "cpu":
        return TorchBackend(Scores(network).eval(), place, dtype, threads)
    parts: Sequence[torch.nn.Module] = [Scores(network).eval()]
    if overlap is not None:
        parts = split_network(network)
    if not bf16 and info.architecture.conv and weights.stat().st_size <= SMALL:
        tails = [] if overlap is None else [overlap.tail]
        parts = _all_recorded(parts, window, tails)
    backends = [TorchBackend(part, place, dtype, threads) for part in parts]
    return (
        backends[0]
        if overlap is None
        else Reusing(backends[0], backends[1], overlap, remember=remember)
    )


def _all_recorded(
    parts: Sequence[torch.nn.Module], window: int, tails: Sequence[slice]
) -> list[torch.nn.Module]:
    """Record a chain of parts; the first takes windows and window `tails`."""
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((3, window), np.float32))
    values = [0.1 * noise[:count] for count in (2, 1, 3)]
    others = [values[0][:, tail] for tail in tails]
    found = []
    for part in parts:
        found.append(recorded(part, [*values, *others]))
        with torch.inference_mode():
            values, others = [part(value) for value in values], []
    return found


def recorded(network: torch.nn.Module, examples: Sequence[torch.Tensor]) -> torch.nn.Module:
    """Trace `network` with the first of `examples`, to run it without Python.

    For one window of a small model Python takes as long as the operations. Returns the network
    itself if the trace gives other results for the other examples.
    """
    with torch.inference_mode(), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what may depend on the example, which is compared
        try:
            found: torch.nn.Module = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, (examples[0],), check_trace=False
            )
            if all(torch.allclose(found(each), network(each), 1e-4, 1e-5) for each in examples):
                return found
        except Exception:  # whatever it is, the network as it stands does the same
            logging.getLogger(__name__).debug("can't be recorded", exc_info=True)
    return network


def find_device(name: str = "") -> torch.device:
    """The torch device `name`, or the first of CUDA, Metal and the processor.

    Raises:
        UserError: there is no device `name`.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not name:
        name = next((kind for kind, there in present.items() if there), "cpu")
    elif not present.get(name, True):
        raise UserError(f'there is no {name} device for torch here; use model.backend = "auto"')
    return torch.device(name)
