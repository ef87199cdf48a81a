"""`intentd replay`: recordings as if they were microphones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path

from daemon.assembly.inputs import open_recordings
from daemon.assembly.session import run_session
from daemon.assembly.setup import load_model, parallel_batches, prepare
from daemon.base.errors import UserError
from daemon.base.stderr import discard_native_stderr
from daemon.config import Sources
from daemon.runtime.inputs import Recordings

DEMO = Path(str(files("daemon"))) / "bundled" / "demo.flac"
"""Command words among other talk; demo.json beside it lists what is said when."""


def run(paths: Sequence[str], speed: str, sources: Sources, *, jobs: int, debug: bool) -> int:
    """Replay `paths` at `speed` ("max" or a factor); return the exit status.

    `jobs`: batches that are classified at once where sound is read as fast as it can be; 0: as many
    as the cores allow.

    Raises: UserError if nothing could be started.
    """
    factor = parse_speed(speed)
    setup = prepare(sources)
    with nullcontext() if debug else discard_native_stderr():  # libmpg123's remarks
        recordings, refusals = open_recordings(paths, setup.settings.audio)
    # What comes through a pipe is classified as it comes.
    at_once = factor is None and not any(recording.blocking for recording in recordings)
    threads = (jobs or parallel_batches(setup)) if at_once else 0
    classifier, gates = load_model(setup, threads), setup.load_gates()
    source = Recordings(
        recordings,
        factor,
        block_ms=setup.settings.audio.block_ms,
        spread=setup.settings.window.hop,
        refused=bool(refusals),
    )
    paced = factor is not None
    return run_session(setup, classifier, gates, source, paced=paced, threads=threads, debug=debug)


def parse_speed(text: str) -> float | None:
    """The factor, or None for "max". Raises `UserError`."""
    if text.strip().lower() == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.01 <= speed <= 1000:
        raise UserError(f"--speed is {text}; it must be max or a factor from 0.01 to 1000")
    return speed
