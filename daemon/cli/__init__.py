"""The command line of intentd.

Only what parses arguments is imported here: torch and its like cost seconds, and `--help` should
not pay them. Each command has its own module in `daemon.commands`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from daemon.base.options import Debug, LogFile, new_app, version_option
from daemon.base.program import (
    complete,
    exit_process,
    keep_docstrings,
    open_closed_streams,
    run_app,
)
from daemon.base.signals import ignore_early_signals
from daemon.cli import inspection, service, streams

app = new_app("Hears spoken intents in live audio, on your own machine.")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, version_option("intentd")] = False,
    log_file: LogFile = None,
    debug: Debug = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


for _command in (
    *(streams.live, streams.serve, streams.replay),
    *(inspection.devices, inspection.check, inspection.bench, inspection.config),
    *(inspection.status, inspection.top),
):
    app.command()(_command)
app.add_typer(service.app, name="service")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status.

    Whatever goes wrong is one sentence on stderr.
    """
    return run_app(app, arguments)


def main() -> NoReturn:
    """`intentd`, and `python -m daemon`."""
    open_closed_streams()
    keep_docstrings("daemon")
    complete(app, "intentd")
    ignore_early_signals()
    try:
        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second one, on the way out
        status = 130
    exit_process(status)
