"""Chooses the backend for "auto": tries each installed one, once.

Each runs the real model.

A backend is passed over if its probabilities differ from torch's in float32 by more than
`TOLERANCE`, or move by more than `BATCH_TOLERANCE` when other windows share the batch. Of the
others the one with the smallest product of two times is kept: a window alone, as live sound of one
stream asks for, and a window in a full batch, as replays and many streams do. The choice is
remembered for the model, the machine, the versions and the settings, so that later runs repeat it
without measuring.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError, first_line
from daemon.model import cache
from daemon.model.backends import choices, conversion
from daemon.model.backends.base import Backend
from daemon.model.backends.choices import Choice, Trial
from daemon.model.backends.job import Job
from daemon.model.backends.table import BACKENDS, REFERENCE, candidates
from daemon.model.cores import accelerators, machine
from daemon.model.features import Features
from daemon.model.probe import following_windows, probe_windows
from daemon.model.scores import probabilities

log = logging.getLogger(__name__)

VERSION = 4
"""To be raised when backends are chosen otherwise."""
TOLERANCE = 0.02
"""Largest tolerated difference of a probability from torch in float32."""
BATCH_TOLERANCE = 0.005
"""Largest tolerated difference of a probability between a window alone and in a full batch."""
SECONDS = 2.0
"""Of timing, after which no further round begins."""
ROUNDS = 15
SLACK = 1.5
"""A backend that takes so many times as long as the fastest is timed no further."""
LARGEST_BATCH = 32
"""A window of a larger batch takes no less time."""
LARGEST = 1 << 30
"""Bytes of weights up to which several backends may hold them at once."""

_PACKAGES = sorted(
    {"intentd", "numpy", "transformers", "onnx", *(kind.package for kind in BACKENDS)}
)
"""Whose versions may change which backend is the fastest."""

Open = Callable[[str], Backend]
"""From a backend's name to the backend; raises `UserError`."""


def choose(job: Job, features: Features, batch: int, open_: Open) -> tuple[Backend, Choice]:
    """The backend that "auto" stands for, opened, and why it was chosen.

    `batch`: windows that go through the network at once, at most.

    Raises: UserError where the model can't be run at all.
    """
    names = candidates(job)
    if len(names) == 1:
        return open_(names[0]), Choice(names[0], "the only one installed")
    if job.weights.stat().st_size > LARGEST:
        name = "torch-bf16" if "torch-bf16" in names else "torch" if "torch" in names else names[0]
        why = f"by the processor alone, since weights above {LARGEST >> 30} GB are not tried on all"
        return open_(name), Choice(name, why)
    entry = choices.entry(_circumstances(job, batch, names))
    known = choices.recall(entry)
    if known is not None:
        try:
            if known.backend in names:
                log.info("backend %s, as chosen before: %s", known.backend, known.why)
                return open_(known.backend), known
        except UserError as error:  # what it needs has gone since
            log.info("backend %s, chosen before, can't be opened: %s", known.backend, error)
        choices.forget(entry)
    opened, choice = _try_all(job, features, batch, names, open_)
    log.info("backend %s", choice.text())
    kept = choices.remember(entry, choice)
    return opened[kept.backend] if kept.backend in opened else open_(kept.backend), kept


def _circumstances(job: Job, batch: int, names: Sequence[str]) -> tuple[str, ...]:
    """All that a choice depends on."""
    return (
        str(VERSION),
        conversion.key(job.info, job.weights, job.window),
        f"threads {job.threads} batch {batch} {job.overlap}",
        f"temperature {job.info.temperature} {job.info.activation}",
        *names,
        *(f"{package} {cache.version(package)}" for package in _PACKAGES),
        *machine(),
        *accelerators(),
    )


def _try_all(
    job: Job, features: Features, batch: int, names: Sequence[str], open_: Open
) -> tuple[dict[str, Backend], Choice]:
    """All backends that could be opened, and the choice among them."""
    batch = min(batch, LARGEST_BATCH)
    windows = probe_windows(job.window, max(batch, 8))
    reference = open_(REFERENCE)
    opened: dict[str, Backend] = {REFERENCE: reference}
    expected = _scores(reference, features, windows, batch, job)
    trials: dict[str, Trial] = {REFERENCE: Trial(REFERENCE, difference=0.0)}
    fit = [REFERENCE]
    for name in names:
        if name == REFERENCE:
            continue
        try:
            opened[name] = open_(name)
            trials[name] = _compare(name, opened[name], features, windows, expected, batch, job)
        except UserError as error:
            trials[name] = Trial(name, refused=str(error))
        except Exception as error:  # a runtime that fails on this model is no reason to stop
            reason = f"it fails ({type(error).__name__}: {first_line(error, 160)})"
            trials[name] = Trial(name, refused=reason)
        if trials[name].refused:
            log.info("backend %s is passed over: %s", name, trials[name].refused)
        else:
            fit.append(name)
    if job.overlap is not None:  # timed as they will come
        windows = following_windows(job.window, job.hop, 2 * batch)
    # Each call copies what it was given: some features hand out the memory of their last batch.
    inputs = np.concatenate(
        [features.prepare(windows[at : at + batch]) for at in range(0, len(windows), batch)]
    )
    runs = {name: _timed(opened[name], inputs) for name in fit}
    # Windows counts a process's time in steps of 16 ms.
    one_thread = job.threads == 1 and not accelerators() and sys.platform != "win32"
    times = time_all(runs, batch, work=time.process_time if one_thread else None)
    for name, (alone, together) in times.items():
        kept = trials[name]
        trials[name] = Trial(
            name, round(1000 * alone, 3), round(1000 * together, 3), kept.difference
        )
    best = min(fit, key=lambda name: times[name][0] * times[name][1])
    why = f"the fastest of {len(fit)} that agree" if len(fit) > 1 else "the only one that agrees"
    return opened, Choice(best, why, batch, tuple(trials[name] for name in names))


def _compare(
    name: str,
    backend: Backend,
    features: Features,
    windows: NDArray[np.float32],
    expected: NDArray[np.float32],
    batch: int,
    job: Job,
) -> Trial:
    """Difference of a backend's scores to `expected`, and batch dependence."""
    together = _scores(backend, features, windows, batch, job)
    few = len(windows) // 4
    alone = _scores(backend, features, windows[:few], 1, job)
    difference = _largest(together - expected, alone - expected[:few])
    in_batch = _largest(alone - together[:few])
    refused = ""
    if not difference <= TOLERANCE:
        refused = f"its scores differ from float32 by {difference:.2g}"
    elif not in_batch <= BATCH_TOLERANCE:
        refused = f"its scores depend on what shares a batch, by {in_batch:.2g}"
    return Trial(name, difference=float(f"{difference:.2g}"), refused=refused)


def _scores(
    backend: Backend, features: Features, windows: NDArray[np.float32], batch: int, job: Job
) -> NDArray[np.float32]:
    """Probabilities, shape (n, labels), in batches of `batch`."""
    parts = [
        backend.run(features.prepare(windows[first : first + batch])).copy()
        for first in range(0, len(windows), batch)
    ]
    return probabilities(np.concatenate(parts), job.info)


def _largest(*differences: NDArray[np.float32]) -> float:
    found = [float(np.abs(each).max()) for each in differences]
    return max(found) if all(map(math.isfinite, found)) else math.inf


def _timed(backend: Backend, inputs: NDArray[np.float32]) -> Callable[[int], object]:
    """Function that runs a number of `inputs` in turn, again and again."""
    at = 0

    def run(count: int) -> object:
        nonlocal at
        if at + count > len(inputs):
            at = 0
        at += count
        return backend.run(inputs[at - count : at])

    return run


def time_all(
    runs: Mapping[str, Callable[[int], object]],
    batch: int,
    clock: Callable[[], float] = time.perf_counter,
    work: Callable[[], float] | None = None,
) -> dict[str, tuple[float, float]]:
    """Seconds a window, alone and in a batch of `batch`, of each of `runs`.

    Each is given a number of windows. They run in turns, so that other work on the machine disturbs
    all alike; the shortest of some rounds counts, since nothing but the run itself makes it longer
    than that.

    `work`: the clock that runs are timed by, if not `clock`. Where all is done by one thread of the
    processor that is the process's own time: on a machine so busy that one round takes `SECONDS`
    any backend may seem the slowest, and the choice would be kept.
    """
    timer = work or clock
    sizes = (1, batch)
    best = {name: [math.inf, math.inf] for name in runs}

    def cost(name: str) -> float:
        return best[name][0] * best[name][1]

    going = list(runs)
    begun = clock()
    for number in range(ROUNDS):
        for name in going[number % len(going) :] + going[: number % len(going)]:
            for place, size in enumerate(sizes):
                started = timer()
                runs[name](size)
                best[name][place] = min(best[name][place], (timer() - started) / size)
        if clock() - begun >= SECONDS:
            break
        if number == 0:
            continue  # one disturbance must not throw the fastest out
        limit = SLACK * SLACK * min(map(cost, going))
        going = [name for name in going if cost(name) <= limit]
        if len(going) == 1:
            break
    return {name: (alone, together) for name, (alone, together) in best.items()}
