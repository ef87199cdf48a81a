"""Processes started by accelerate's launchers, and their memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import torch

MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def main_process() -> bool:
    """Whether this is the first process of those that accelerate started.

    Or the only one.
    """
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Wait until all processes that train together are here.

    Returns at once where there is only one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState(cpu=without_accelerator()).wait_for_everyone()


def without_accelerator() -> bool:
    """Whether training runs on the processor.

    accelerate joins processes on processors (gloo) only where the program says that it wants
    no GPU; without that every process would train alone.
    """
    return not torch.accelerator.is_available()


def left_alone(environment: Mapping[str, str] = os.environ) -> str | None:
    """Sentence if several processes were asked for and this is the only one.

    None otherwise.

    `accelerate launch --cpu --num_processes N` starts one process and leaves the others to MPI.
    """
    asked = "MASTER_ADDR" in environment and "ACCELERATE_MIXED_PRECISION" in environment
    joined = any(name in environment for name in ("LOCAL_RANK", "RANK", *MPI_SIZES))
    if not asked or joined:
        return None
    return (
        "accelerate was asked for several processes and started one: with --cpu it leaves that to "
        "MPI. `accelerate launch --multi_gpu --num_processes N` starts N, without a GPU too."
    )


def peak_memory_gib() -> float | None:
    """Peak memory of this process; None where the system doesn't tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
