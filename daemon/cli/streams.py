"""Commands that make streams of sound into events: live, serve, replay."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.base.errors import UserError
from daemon.base.program import debugging
from daemon.cli.options import with_options

if TYPE_CHECKING:
    from daemon.config import Sources


@with_options(
    *("device", "model", "config", "headless", "jsonl", "on", "wait_for_device"),
    *("assignments", "log_file", "debug"),
)
def live(sources: Sources) -> int:
    """Listen to a microphone until q, Ctrl-C or SIGTERM."""
    from daemon.commands.live import run

    return run(sources, debug=debugging())


@with_options("model", "config", "headless", "jsonl", "on", "assignments", "log_file", "debug")
def serve(
    sources: Sources,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS]...",
            help="tcp://HOST:PORT, unix:///PATH (Wyoming) or http://HOST:PORT (browsers); else "
            "those of the settings, else tcp://127.0.0.1:10400.",
        ),
    ] = None,
) -> int:
    """Listen to clients: satellites, Home Assistant, browsers.

    Satellites and Home Assistant speak the Wyoming protocol.
    """
    from daemon.commands.serve import run
    from daemon.config.sources import Option

    option = Option("serve.listen", "ADDRESS", addresses or None)
    return run(sources.having(option), debug=debugging())


@with_options("model", "config", "headless", "jsonl", "on", "assignments", "log_file", "debug")
def replay(
    sources: Sources,
    recordings: Annotated[
        list[str] | None,
        typer.Argument(metavar="WAV...", help='Recordings; "-" is standard input.'),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="The recording that comes with intentd.")
    ] = False,
    speed: Annotated[
        str, typer.Option("--speed", metavar="X|max", help="1.0 is the recordings' own pace.")
    ] = "1.0",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            max=64,
            metavar="N",
            help="Batches classified at once, at --speed max; 0: as many as there are cores.",
        ),
    ] = 0,
) -> int:
    """Replay recordings as if they were microphones, side by side.

    Each is a stream.
    """
    from daemon.commands.replay import DEMO, run

    paths = _expanded(recordings or []) + ([str(DEMO)] if demo else [])
    if not paths:
        raise UserError("name a recording to replay, or --demo for the one that comes with intentd")
    return run(paths, speed, sources, jobs=jobs, debug=debugging())


def _expanded(recordings: Sequence[str]) -> list[str]:
    """Wildcards, where the shell leaves them to the program."""
    if os.name != "nt":
        return list(recordings)
    return [
        name
        for pattern in recordings
        for name in (sorted(glob.glob(pattern)) or [pattern])  # noqa: PTH207 - paths stay as typed
    ]
