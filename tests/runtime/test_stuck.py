"""Processes that can't end in order: hung models, readers that stall."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support.making import speechlike, write_wav

if sys.platform == "win32":
    pytest.skip("POSIX signals", allow_module_level=True)

import fcntl
import termios

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[2]
START = 120.0
"""A busy machine takes long to start a process."""
HANGING = """
import os, time
from pathlib import Path
from daemon.cli import main
from daemon.model.classifier import Classifier

def hang(self, windows):
    Path(os.environ["HANGS"]).touch()
    time.sleep(60)

Classifier.classify = hang
main()
"""
"""intentd with a model that never answers."""


class Stuck:
    """A replay at full speed, in a folder of its own."""

    def __init__(self, folder: Path, model: Path, program: list[str], *more: str) -> None:
        folder.mkdir()
        self.mark = folder / "hangs"
        write_wav(folder / "long.wav", speechlike(240.0, seed=5))
        self.errors = folder / "errors.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, *program, "replay", "long.wav", "--speed", "max", *more),
                    *("--headless", "--model", str(model), "--set", "gate.kind=off"),
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "INTENTD_MODEL__THREADS": "1",
                    "HANGS": str(self.mark),
                    "XDG_CONFIG_HOME": str(folder),
                },
            )

    def end(self, *signals: int) -> tuple[int, float, list[str]]:
        """Status, seconds from the last signal, and lines on stderr."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.05)
        begun = time.monotonic()
        status = self.process.wait(20)
        return status, time.monotonic() - begun, self.errors.read_text().splitlines()


@pytest.fixture
def start(tmp_path: Path, plain_model: Path) -> Iterator[Callable[..., Stuck]]:
    running: list[Stuck] = []

    def begin(program: list[str], *more: str) -> Stuck:
        running.append(Stuck(tmp_path / str(len(running)), plain_model, program, *more))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.communicate()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


MISSING = "the model did not finish its last windows in time, so the summaries are missing"


def test_a_model_that_hangs_does_not_keep_the_process(start: Callable[..., Stuck]) -> None:
    """One signal waits for the model as long as it may, a second does not.

    Without any it is given up after the time that the settings allow. The processes run side by
    side.
    """
    once, twice, interrupted, alone = (
        start(["-c", HANGING], "--set", f"model.hang_seconds={seconds}")
        for seconds in (50, 50, 50, 1)
    )
    for one in (once, twice, interrupted):
        until(one.mark.exists, "the model hangs")

    status, took, said = once.end(signal.SIGTERM)
    assert status == 1 and took < 2.0
    assert len(said) == 1 and MISSING in said[0]

    status, took, _ = twice.end(signal.SIGTERM, signal.SIGTERM)
    assert status == 1 and took < 0.6
    status, took, _ = interrupted.end(signal.SIGINT, signal.SIGINT)
    assert status == 130 and took < 0.6

    status, _, said = alone.end()
    assert status == 1
    assert len(said) == 1 and "the model gave no result for 1 s" in said[0]


def test_a_reader_that_does_not_read_does_not_keep_the_process(start: Callable[..., Stuck]) -> None:
    """A full pipe, in a replay that waits for its outputs."""
    plain = ["-m", "daemon"]
    piped, piped_twice = start(plain, "--jsonl", "-"), start(plain, "--jsonl", "-")
    for one in (piped, piped_twice):
        until(partial(full, one), "its output is stuck")
    status, took, said = piped.end(signal.SIGINT)
    assert (status, said) == (130, []) and took < 2.0
    status, took, said = piped_twice.end(signal.SIGTERM, signal.SIGTERM)
    assert status == 1 and took < 0.6 and not any("Traceback" in line for line in said)


def full(one: Stuck) -> bool:
    """The pipe takes no other line, and what it holds does not change."""
    before = held(one)
    time.sleep(0.3)
    return before > 60_000 and held(one) == before


def held(one: Stuck) -> int:
    assert one.process.stdout is not None
    found = fcntl.ioctl(one.process.stdout.fileno(), termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(found, sys.byteorder)
