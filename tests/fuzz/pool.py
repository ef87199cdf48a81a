"""Runs cases in worker processes: no crash, no hang, bounded memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HANG_SECONDS = 5.0
SLOW_SECONDS = 1.0
"""Processor time that no case may take; wall time says little on a busy machine."""
STARTING_SECONDS = 90.0
"""What a worker gets for its first case of a kind, which imports and builds what it needs."""
MOST_BYTES = 500 << 20
WORKER = Path(__file__).with_name("fuzz_worker.py")


@dataclass
class Report:
    """What came of all cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    busiest: float = 0.0
    """Most seconds of processor time of a case."""
    largest: int = 0

    def take(self, result: dict[str, Any], first: bool) -> None:
        where = f"{result['kind']} {result['seed']}"
        if "failure" in result:
            self.failures.append(f"{where}: {result['failure'][-3000:]}")
            return
        self.outcomes[f"{result['kind']} {result['outcome']}"] += 1
        if first:
            return
        self.slowest = max(self.slowest, result["seconds"])
        self.busiest = max(self.busiest, result["cpu"])
        self.largest = max(self.largest, result["bytes"])
        if result["seconds"] > HANG_SECONDS:
            self.failures.append(f"{where}: took {result['seconds']:.1f} s")
        if result["cpu"] > SLOW_SECONDS:
            self.failures.append(f"{where}: took {result['cpu']:.1f} s of processor time")
        if result["bytes"] > MOST_BYTES:
            self.failures.append(f"{where}: took {result['bytes'] >> 20} MB")


class _Worker:
    """One process at a time; another one after a crash or a hang."""

    def __init__(self, environ: dict[str, str], hang: float) -> None:
        self._environ = environ
        self._hang = hang
        self._process: subprocess.Popen[str] | None = None
        self._known: set[str] = set()

    def run(self, kind: str, seed: int, report: Report, lock: threading.Lock) -> None:
        first = kind not in self._known
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self._environ,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        limit = STARTING_SECONDS if first else 2 * self._hang
        hung = threading.Event()

        def kill() -> None:
            hung.set()
            process.kill()

        timer = threading.Timer(limit, kill)
        timer.start()
        try:
            process.stdin.write(f"{kind} {seed}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        with lock:
            if line:
                self._known.add(kind)
                report.take(json.loads(line), first)
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)  # it died by itself, and should be heard how
            self.close()
            status = process.returncode
            died = signal.Signals(-status).name if status < 0 else f"status {status}"
            what = f"no end after {limit:g} s" if hung.is_set() else f"the process died: {died}"
            report.failures.append(f"{kind} {seed}: {what}")

    def close(self) -> None:
        process, self._process = self._process, None
        self._known.clear()
        if process is not None:
            process.kill()
            process.communicate()


def run_cases(
    cases: Iterable[tuple[str, int]],
    model: Path,
    workers: int = 2,
    hang: float = HANG_SECONDS,
) -> Report:
    """Run all cases, of which none may take `hang` seconds.

    `model` is a directory that works, to be damaged. A process is killed after twice that time,
    since a machine may be busy.
    """
    report = Report()
    lock = threading.Lock()
    todo = deque(cases)
    environ = {
        **os.environ,
        "FUZZ_MODEL": str(model),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONFAULTHANDLER": "1",
    }

    def work(take: Callable[[], tuple[str, int]]) -> None:
        worker = _Worker(environ, hang)
        try:
            while len(report.failures) < 50:
                try:
                    kind, seed = take()
                except IndexError:
                    return
                worker.run(kind, seed, report, lock)
        finally:
            worker.close()

    # From both ends, so that not every worker has to make ready for every kind.
    ends = [todo.popleft, todo.pop]
    threads = [threading.Thread(target=work, args=(ends[n % 2],)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return report


def main() -> None:
    """`python tests/fuzz/pool.py MODEL FIRST LAST [KIND]`.

    Prints figures and failures.
    """
    model, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    kinds = sys.argv[4:] or ["recording", "settings", "model"]
    begun = time.monotonic()
    report = run_cases([(k, seed) for k in kinds for seed in range(first, last)], model)
    for failure in report.failures:
        print(failure)
    print(dict(report.outcomes), f"{len(report.failures)} failures")
    print(
        f"{time.monotonic() - begun:.1f} s, slowest {report.slowest:.2f} s "
        f"({report.busiest:.2f} s of processor time), "
        f"largest {report.largest >> 20} MB"
    )


if __name__ == "__main__":
    main()
