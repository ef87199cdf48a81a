"""`intentd service`: the daemon as a systemd user service."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.base.options import Debug
from daemon.cli import streams
from daemon.cli.options import sources_of

if TYPE_CHECKING:
    from daemon.config import Sources

app = typer.Typer(help="Listen from login on, as a systemd user service.", no_args_is_help=True)


@app.command("install", context_settings={"ignore_unknown_options": True})
def install(
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPTIONS]...", help="Options of intentd live (or serve) to run with."
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Run intentd serve in place of intentd live.")
    ] = False,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox/--no-sandbox", help="Hide the file system from the service."),
    ] = True,
    network: Annotated[
        bool, typer.Option("--network", help="Let commands use the network.")
    ] = False,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", metavar="FOLDER", help="A folder that commands may write to."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Write the unit and start it; a second call brings it up to date."""
    from daemon.commands import service

    name = "serve" if serve else "live"
    arguments, sources, log_file = _options_of(name, options or [])
    return service.install(
        arguments,
        sources,
        log_file,
        command=name,
        sandbox=sandbox,
        network=network,
        write=write or (),
    )


@app.command("uninstall")
def uninstall(debug: Debug = False) -> int:
    """Stop the service and remove the unit."""
    from daemon.commands import service

    return service.uninstall()


@app.command("status")
def status(debug: Debug = False) -> int:
    """Report the service: status 0 if it runs, 1 if not, 2 if there is none."""
    from daemon.commands import service

    return service.status()


def _options_of(name: str, options: Sequence[str]) -> tuple[list[str], Sources, Path | None]:
    """Validate options of `live` or `serve`.

    Returns them with absolute paths, as sources of settings, and the file of the log.
    """
    runs = typer.Typer()
    for each in (streams.live, streams.serve):
        runs.command()(each)
    group: Any = typer.main.get_command(runs)
    command = group.commands[name]
    with command.make_context(f"intentd {name}", list(options)) as context:
        values = dict(context.params)
    values.pop("debug", None)
    for key in ("config", "jsonl", "log_file", "model"):
        value = values.get(key)
        if value is not None and str(value) != "-" and (key != "model" or Path(value).exists()):
            values[key] = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111
    addresses = list(values.pop("addresses", None) or [])
    arguments: list[str] = []
    for parameter in command.params:
        value, flag = values.get(parameter.name), parameter.opts[0]
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif value is not None:
            for each in value if isinstance(value, list | tuple) else [value]:
                arguments += [flag, str(each)]
    given = {key: values.get(key) for key in ("assignments", "device", "model", "jsonl", "on")}
    config = Path(values["config"]) if values["config"] else None
    sources = sources_of({**given, "config": config, "addresses": addresses})
    arguments += addresses
    log_file = values["log_file"]
    return arguments, sources, None if log_file is None else Path(log_file)
