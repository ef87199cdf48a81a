"""Time and memory from the start of a process to its first window."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from daemon.commands.bench.child import peak_mb
from daemon.config import Sources

Figures = dict[str, Any]


def help_seconds() -> float:
    """Seconds that `intentd --help` takes."""
    begun = time.perf_counter()
    subprocess.run(_command(["--help"]), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def first_window(file: str, sources: Sources) -> Figures:
    """Seconds from start to the first line of a replay as fast as it can be.

    `peak_mb`: the most memory it had held by then; None where the system does not tell.
    """
    options = [] if sources.config is None else ["--config", str(sources.config)]
    for option in sources.options:
        if option.value is not None:  # of all, the bench takes --model alone
            options += ["--model", str(option.value)]
    for assignment in sources.assignments:
        options += ["--set", assignment]
    begun = time.perf_counter()
    with subprocess.Popen(
        _command(["replay", file, "--speed", "max", "--jsonl", "-", *options]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - begun
        found: Figures = {"seconds": seconds, "peak_mb": peak_mb(process.pid)}
        process.stdout.read()
    return found


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "daemon", *arguments]
