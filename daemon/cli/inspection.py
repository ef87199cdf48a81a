"""Commands that inspect: devices, check, bench, config, status, top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.base.errors import UserError
from daemon.base.options import Debug
from daemon.cli.options import Model, with_options

if TYPE_CHECKING:
    from daemon.config import Sources


def devices(debug: Debug = False) -> int:
    """List microphones with rates and channels; the default is marked."""
    from daemon.commands.devices import run

    return run()


@with_options("device", "model", "config", "assignments", "log_file", "debug")
def check(sources: Sources) -> int:
    """Try everything that listening needs; say how to mend what fails."""
    from daemon.commands.check import run

    return run(sources)


@with_options("config", "assignments", "debug")
def bench(
    sources: Sources,
    path: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A model's directory; else the one in force."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", metavar="base|large", help="Random weights of wav2vec2's shape."),
    ] = None,
    recording: Annotated[
        Path | None,
        typer.Option("--recording", metavar="WAV", help="Where speech comes from; else the demo."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=1000)] = 3,
    streams: Annotated[
        str, typer.Option("--streams", metavar="N,N,…", help="Numbers of streams to try.")
    ] = "1,10,100",
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, max=3600.0, help="Of each replay at speed 1.")
    ] = 30.0,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Figures as JSON; -: instead of the table."),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="A picture of latency against streams."),
    ] = None,
    agree: Annotated[
        list[Path] | None,
        typer.Option("--agree", metavar="WAV", help="Compare scores on this; may be repeated."),
    ] = None,
    model: Model = None,
) -> int:
    """Measure how fast the model runs here, beside transformers' pipeline.

    With --agree: whether every backend gives its scores.
    """
    if sum(name is not None for name in (path, shape, model)) > 1:
        raise UserError("name one model: MODEL, --model or --shape")
    counts = streams.split(",")
    if not all(count.strip().isdecimal() and 1 <= int(count) <= 1000 for count in counts):
        raise UserError(f"--streams is {streams}; it must be numbers from 1 to 1000, as in 1,10")
    from daemon.commands.bench import run
    from daemon.commands.bench.measure import Plan
    from daemon.config.sources import Option

    return run(
        sources.having(Option("model.path", "--model", path or model)),
        Plan(rounds, tuple(sorted({int(count) for count in counts})), seconds, recording),
        shape=shape,
        json_file=json_file,
        plot_file=plot_file,
        agree=agree or (),
    )


@with_options("model", "config", "assignments", "debug")
def config(
    sources: Sources,
    init: Annotated[
        bool, typer.Option("--init", help="Write a file with every default, to edit.")
    ] = False,
) -> int:
    """Print the settings in force and where each comes from."""
    from daemon.commands.config import run, write

    return write(sources.config) if init else run(sources)


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a daemon.")
    ] = False,
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Ask this process only.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Report a running intentd: status 0 if healthy, 1 if not, 2 if none runs."""
    from daemon.commands.status import run

    return run(as_json=as_json, pid=pid)


def top(
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Watch this process.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Show the dashboard of a running intentd; q ends only this view."""
    from daemon.commands.top import run

    return run(pid=pid)
