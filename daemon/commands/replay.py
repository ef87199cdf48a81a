"""`intentd replay`: recordings as if they were microphones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path

from daemon.assembly.session import run_session
from daemon.assembly.setup import load_model, note, prepare
from daemon.base.errors import UserError
from daemon.base.stderr import discard_native_stderr
from daemon.capture.recording.recording import Recording
from daemon.config import AudioSettings, Sources
from daemon.runtime.inputs import Recordings

DEMO = Path(str(files("daemon"))) / "bundled" / "demo.flac"
"""Command words among other talk; demo.json beside it lists what is said when."""
RING_SECONDS = 4.0
"""What a recording's ring holds: one batch of windows, and not more than memory bears."""


def run(paths: Sequence[str], speed: str, sources: Sources, *, debug: bool) -> int:
    """Replay `paths` at `speed` ("max" or a factor). Returns the exit status; raises `UserError`
    if nothing could be started."""
    factor = parse_speed(speed)
    setup = prepare(sources)
    with nullcontext() if debug else discard_native_stderr():  # libmpg123's remarks
        recordings, refusals = open_recordings(paths, setup.settings.audio)
    classifier, gates = load_model(setup), setup.load_gates()
    source = Recordings(
        recordings,
        factor,
        block_ms=setup.settings.audio.block_ms,
        spread=setup.settings.window.hop,
        refused=bool(refusals),
    )
    paced = factor is not None
    return run_session(setup, classifier, gates, source, paced=paced, debug=debug)


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


def open_recordings(
    paths: Sequence[str], audio: AudioSettings
) -> tuple[list[Recording], list[UserError]]:
    """The recordings that can be opened, and what is wrong with the others, which was said.

    Raises `UserError` if none can be opened, or standard input is named twice.
    """
    if list(paths).count("-") > 1:
        raise UserError("- names standard input, which can be read only once; name it once")
    recordings: list[Recording] = []
    refusals: list[UserError] = []
    for path in paths:
        try:
            recordings.append(Recording(path, channel=audio.channel, buffer_seconds=RING_SECONDS))
        except UserError as error:
            refusals.append(error)
    if not recordings and len(refusals) == 1:
        raise refusals[0]
    for refusal in refusals:
        note(str(refusal))
    if not recordings:
        raise UserError("none of the recordings can be replayed; name one that can be read")
    return recordings, refusals
