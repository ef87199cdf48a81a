"""Runs `python -m train` and tools as forks of a prepared process.

That process has imported what they import, so that a start takes a tenth of a second, not four. How
a start goes is for tests that start Python itself.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PREPARED = (
    "torch",
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "scipy.stats",
    "train.cli",
    "train.pipeline",
    "train.training.finetune",
    "train.report.plots",
    "train.evaluation.evaluate",
)


class Forked:
    """A program in a process; output in files, status from `wait`."""

    def __init__(
        self,
        program: str,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        largest_file: int | None = None,
    ) -> None:
        """Start `program`, a module with a `__main__` or the path of a script.

        env: variables beside this process's own. largest_file: limit of the system, in bytes.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="intentd-forked-")
        place = Path(self._folder.name)
        self._files = (place / "stdout", place / "stderr")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PREPARED))
        self._process: Any = context.Process(
            target=_become,
            args=(
                program,
                [str(argument) for argument in arguments],
                str(cwd or Path.cwd()),
                {**os.environ, **(env or {})},
                [str(path) for path in self._files],
                largest_file,
            ),
        )
        self._process.start()

    def poll(self) -> int | None:
        """Exit status, or None while it runs; negative if a signal ended it."""
        status: int | None = self._process.exitcode
        return status

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end; status and output.

        It is killed after `timeout` seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        out, err = (path.read_text() for path in self._files)
        return subprocess.CompletedProcess([], self._process.exitcode, out, err)


def run_forked(
    program: str,
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    largest_file: int | None = None,
    timeout: float = 200,
) -> subprocess.CompletedProcess[str]:
    """Status and output of a program; the arguments are those of `Forked`."""
    process = Forked(program, *arguments, cwd=cwd, env=env, largest_file=largest_file)
    return process.wait(timeout)


def _become(
    program: str,
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    files: list[str],
    largest_file: int | None,
) -> None:
    """Be `program`, in the forked process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(files, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [program, *arguments]
    status: Any = 0
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            importlib.import_module(f"{program}.cli").main()
    except SystemExit as end:
        status = end.code
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if isinstance(status, str):
        print(status, file=sys.stderr, flush=True)
        status = 1
    os._exit(status or 0)
