"""A process that runs cases: "KIND SEED" lines in, JSON objects out.

By hand, for one case with its traceback: `python tests/fuzz/fuzz_worker.py KIND SEED`, after
`export FUZZ_MODEL=DIRECTORY` of a model that works.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

sys.dont_write_bytecode = True

from fuzz import guard  # noqa: E402

Case = Callable[[random.Random, Path], str]
AT_MOST = 6 << 30
"""Bytes of address space beyond what the idle process has: the machine outlives a runaway."""


def cases(kind: str) -> Case:
    if kind == "trial":
        return trial
    if kind == "recording":
        from fuzz.recordings import Recordings_

        return Recordings_().run
    if kind == "settings":
        from fuzz.settings import SettingsCases

        return SettingsCases().run
    if kind == "manifest":
        from fuzz.manifests import ManifestCases

        return ManifestCases().run
    from fuzz.models import ModelCases

    return ModelCases(Path(os.environ["FUZZ_MODEL"])).run


def trial(rng: random.Random, folder: Path) -> str:
    """What the pool has to notice, one by one: see `test_the_pool_notices`."""
    match int(folder.name.split("-")[1]):
        case 0:
            return "fine"
        case 1:
            os.abort()
        case 2:
            time.sleep(60)
        case 3:
            bytearray(b"x") * (600 << 20)
        case 4:
            Path("/tmp/intentd-fuzz-trial").write_text("x")
        case 5:
            raise ZeroDivisionError
        case _:
            os.system("true")
    return "unnoticed"


class Runner:
    """Runs cases one after the other in a folder of their own each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = guard.Guard(folder)
        self._cases: dict[str, Case] = {}

    def run(self, kind: str, seed: int) -> dict[str, Any]:
        """The case's `outcome`, or `failure` with a traceback; seconds, memory."""
        if kind not in self._cases:
            self._cases[kind] = cases(kind)
        place = self._folder / f"{kind}-{seed}"
        place.mkdir()
        os.chdir(place)
        guard.reset_peak()
        # What hundreds of models leave behind in one process is no hunger of the next one.
        idle = guard.resident()
        result: dict[str, Any] = {"kind": kind, "seed": seed}
        begun, worked = time.monotonic(), time.process_time()
        self._guard.enter()
        try:
            result["outcome"] = self._cases[kind](random.Random(f"{kind} {seed}"), place)
        except BaseException:
            result["failure"] = traceback.format_exc()
        acts = self._guard.leave()
        result["seconds"] = time.monotonic() - begun
        result["cpu"] = time.process_time() - worked
        result["bytes"] = guard.peak() - idle
        if acts:
            result["failure"] = f"{result.get('failure', '')}\nforbidden: {acts[:5]}"
        os.chdir(self._folder)
        with contextlib.suppress(OSError):
            shutil.rmtree(place, ignore_errors=True)
        return result


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a case prints must not be taken for an answer
    with tempfile.TemporaryDirectory(prefix="fuzz.") as name:
        os.environ.update(HOME=name, TMPDIR=name, XDG_CACHE_HOME=f"{name}/cache")
        tempfile.tempdir = None
        runner = Runner(Path(name))
        if len(sys.argv) > 2:
            print(
                json.dumps(runner.run(sys.argv[1], int(sys.argv[2])), indent=1).replace("\\n", "\n")
            )
            return
        limited = False
        for line in sys.stdin:
            kind, seed = line.split()
            print(json.dumps(runner.run(kind, int(seed))), file=answers, flush=True)
            if not limited:  # threads and libraries are there by now
                limited = True
                now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf(
                    "SC_PAGE_SIZE"
                )
                resource.setrlimit(resource.RLIMIT_AS, (now + AT_MOST, now + AT_MOST))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
