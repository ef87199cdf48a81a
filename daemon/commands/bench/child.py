"""A subject of the bench in its own process.

Run as `python -m daemon.commands.bench.child`.

So that no subject's threads, memory or settings of torch are another's. The first line on standard
input says what to be; it is answered when that is ready. Each further line is an order, answered
with its figures. Lines are JSON; {"error": sentence} ends the process.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError

Figures = dict[str, Any]
Subject = Callable[[Figures], Figures]


def make(what: Figures) -> tuple[Subject, Figures]:
    """The subject that `what` describes, and what to report of it.

    Raises: UserError.
    """
    if what["kind"] == "pipeline":
        from daemon.commands.bench.subjects import pipeline

        return pipeline(what)
    if what["kind"] == "backend":
        from daemon.commands.bench.subjects import backend

        return backend(what)
    if what["kind"] == "rival":
        from daemon.commands.bench.rival import rival

        return rival()
    from daemon.commands.bench.whole import whole

    return whole(what)


def peak_mb(process: int | None = None) -> float | None:
    """Peak memory of this process in MB; None where it is not known."""
    status = Path(f"/proc/{process or 'self'}/status")
    if status.is_file():  # Linux, where the resource module counts what the parent held at a fork
        found = re.search(
            r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii", errors="replace")
        )
        return round(int(found[1]) / 1024, 1) if found else None
    if process is not None:
        return None
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 1)  # macOS: bytes


def main() -> None:
    """Serve orders until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        begun = time.perf_counter()
        subject, about = make(json.loads(sys.stdin.readline()))
        ready: Figures = {"load_seconds": time.perf_counter() - begun, **about}
        print(json.dumps(ready), file=answers, flush=True)
        for line in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            figures = subject(json.loads(line))
            spent: Figures = {
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "peak_mb": peak_mb(),
            }
            print(json.dumps(spent | figures), file=answers, flush=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
    os._exit(0)  # taking torch apart takes seconds


if __name__ == "__main__":
    main()
