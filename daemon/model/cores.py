"""Processor facts: usable cores, threads, bfloat16, accelerators."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

MOST_THREADS = 4
"""Default limit. A window is small: with more threads, waiting costs more than they gain."""

_CPUINFO = Path("/proc/cpuinfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


SMALL = 40 << 20
"""Bytes of weights up to which one thread is enough: a window takes some milliseconds then, and
threads that share it on a busy machine spend more time waiting for each other than working."""


def default_threads(weight_bytes: int) -> int:
    """Default number of threads for a model of so many bytes.

    One for a small model; else the physical cores that this process may use, at most
    `MOST_THREADS`.
    """
    return 1 if weight_bytes <= SMALL else max(1, min(usable_cores(), MOST_THREADS))


def usable_cores() -> int:
    """Physical cores within the process's affinity and cgroup quota, >= 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
    else:
        allowed = set(range(os.cpu_count() or 1))
    return max(1, min(_physical(allowed, _read(_CPUINFO)), _quota(_read(_QUOTA))))


def let_threads_sleep() -> None:
    """Make OpenMP threads sleep while they wait. Call before importing torch.

    By default they spin, assuming a core each. On a busy machine all of them then wait for the one
    that was descheduled: on two busy cores a window of the small model took 1.4 s (460 ms of
    processor time) with two spinning threads, 32 ms (17 ms) with two that sleep. An OMP_WAIT_POLICY
    that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ATEN_CPU_CAPABILITY",
    "OMP_NUM_THREADS",
    "MKL_ENABLE_INSTRUCTIONS",
    "CUDA_VISIBLE_DEVICES",
)
"""Environment variables that make runtimes faster or slower."""


def machine() -> tuple[str, ...]:
    """Everything that the speed of backends depends on, as a key for choices.

    The processor and its flags, the cores that this process may use, and limits set in the
    environment.
    """
    found: dict[str, str] = {}
    for line in _read(_CPUINFO).splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    processor = found.get("model name") or platform.processor()
    flags = found.get("flags") or found.get("Features", "")
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    limits = (f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ)
    return (
        platform.system(),
        platform.machine(),
        processor,
        " ".join(sorted(flags.split())),
        f"{os.cpu_count()} cores, allowed {allowed}, {usable_cores()} used",
        *limits,
    )


def accelerators() -> tuple[str, ...]:
    """Signs of a GPU that torch may use, found without importing torch.

    That import is slow.
    """
    found = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    if sys.platform == "win32" and shutil.which("nvidia-smi"):
        found.append("nvidia-smi")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("mps")
    return tuple(found)


def has_fast_bf16() -> bool:
    """True if the processor multiplies bfloat16 matrices in hardware.

    x86: AMX or AVX-512 BF16; Arm: BF16. Elsewhere bf16 is emulated and slower than float32.
    """
    if not sys.platform.startswith("linux"):
        return False
    flags = set(_read(_CPUINFO).split())
    return bool(flags & {"amx_bf16", "avx512_bf16", "bf16"})


def _physical(allowed: set[int], cpuinfo: str) -> int:
    """Number of cores; hyper-threads of one package and core id count once."""
    cores = set()
    for block in cpuinfo.split("\n\n"):
        keys: dict[str, str] = {}
        for line in block.splitlines():
            key, _, value = line.partition(":")
            keys[key.strip()] = value.strip()
        number = keys.get("processor", "")
        if number.isdigit() and int(number) in allowed and "core id" in keys:
            cores.add((keys.get("physical id"), keys["core id"]))
    return len(cores) or len(allowed)


def _quota(text: str) -> int:
    """Whole processors of a cgroup's "quota period" line, in microseconds."""
    parts = text.split()
    if len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit() and int(parts[1]):
        return max(1, int(parts[0]) // int(parts[1]))
    return 1 << 16


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
