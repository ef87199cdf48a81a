"""The command line of intentd.

Only what parses arguments is imported here: torch and its like cost seconds, and `--help` should
not pay them. Each command has its own module in `daemon.commands`.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from daemon.base.errors import UserError
from daemon.base.program import (
    complete,
    debugging,
    exit_process,
    keep_docstrings,
    log_to_file,
    open_closed_streams,
    run_app,
    version_printer,
    want_debug,
)
from daemon.base.signals import ignore_early_signals

if TYPE_CHECKING:
    from daemon.config import Sources

KEYS = {
    "addresses": "serve.listen",
    "device": "audio.device",
    "wait_for_device": "audio.wait_for_device",
    "model": "model.path",
    "headless": "output.headless",
    "jsonl": "output.jsonl",
}
"""The settings that options of the same meaning give."""

app = typer.Typer(
    name="intentd",
    help="Hears spoken intents in live audio, on your own machine.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Write the log to stderr, tracebacks too.",
        callback=want_debug,
        is_eager=True,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append the log to a file, for a bug report.",
        callback=log_to_file,
        is_eager=True,
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings to use (config.toml).")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, as in --set gate.kind=off."),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="DIR|HUB_ID", help="The model to run.")
]
Headless = Annotated[
    bool, typer.Option("--headless", help="Plain lines in place of the dashboard.")
]
JsonLines = Annotated[
    str | None,
    typer.Option("--jsonl", metavar="FILE|-", help='JSON lines to a file, "-": standard output.'),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="INTENT=COMMAND",
        help="Run a command when it is spoken; * is every intent. May be repeated.",
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and end.",
            is_eager=True,
            callback=version_printer("intentd"),
        ),
    ] = False,
    log_file: LogFile = None,
    debug: Debug = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def _sources(
    config: Path | None,
    assignments: Sequence[str] | None,
    *,
    on: Sequence[str] | None = None,
    **given: Any,
) -> Sources:
    """What the command line says of the settings; options by their names."""
    from daemon.config.sources import Option, Sources, commands_by_intent

    options = [Option(KEYS[name], _flag_of(name), given[name]) for name in given]
    options += commands_by_intent(on or ())
    return Sources(config, tuple(assignments or ()), tuple(options))


def _flag_of(name: str) -> str:
    """How the user gives it."""
    return "ADDRESS" if name == "addresses" else f"--{name.replace('_', '-')}"


def _device(given: str | None) -> str | int | None:
    """What `audio.device` takes: an index, or part of a name."""
    return int(given) if given is not None and given.isascii() and given.isdigit() else given


def _flag(value: bool) -> bool | None:
    # A flag that isn't given says nothing, rather than "false" over the file's "true".
    return True if value else None


@app.command()
def live(
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME|INDEX", help="The microphone: part of its name, or its index."
        ),
    ] = None,
    model: Model = None,
    config: Config = None,
    headless: Headless = False,
    jsonl: JsonLines = None,
    on: On = None,
    wait_for_device: Annotated[
        bool, typer.Option("--wait-for-device", help="Wait for the microphone to appear.")
    ] = False,
    assignments: Assignments = None,
    log_file: LogFile = None,
    debug: Debug = False,
) -> int:
    """Listen to a microphone until q, Ctrl-C or SIGTERM."""
    from daemon.commands.live import run

    return run(
        _sources(
            config,
            assignments,
            device=_device(device),
            wait_for_device=_flag(wait_for_device),
            model=model,
            headless=_flag(headless),
            jsonl=jsonl,
            on=on,
        ),
        debug=debugging(),
    )


@app.command()
def serve(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS]...",
            help="tcp://HOST:PORT, unix:///PATH (Wyoming) or http://HOST:PORT (browsers); else "
            "those of the settings, else tcp://127.0.0.1:10400.",
        ),
    ] = None,
    model: Model = None,
    config: Config = None,
    headless: Headless = False,
    jsonl: JsonLines = None,
    on: On = None,
    assignments: Assignments = None,
    log_file: LogFile = None,
    debug: Debug = False,
) -> int:
    """Listen to clients: satellites, Home Assistant, browsers.

    Satellites and Home Assistant speak the Wyoming protocol.
    """
    from daemon.commands.serve import run

    return run(
        _sources(
            config,
            assignments,
            addresses=addresses or None,
            model=model,
            headless=_flag(headless),
            jsonl=jsonl,
            on=on,
        ),
        debug=debugging(),
    )


@app.command()
def replay(
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
    model: Model = None,
    config: Config = None,
    headless: Headless = False,
    jsonl: JsonLines = None,
    on: On = None,
    assignments: Assignments = None,
    log_file: LogFile = None,
    debug: Debug = False,
) -> int:
    """Replay recordings as if they were microphones, side by side.

    Each is a stream.
    """
    from daemon.commands.replay import DEMO, run

    paths = _expanded(recordings or []) + ([str(DEMO)] if demo else [])
    if not paths:
        raise UserError("name a recording to replay, or --demo for the one that comes with intentd")
    return run(
        paths,
        speed,
        _sources(
            config,
            assignments,
            model=model,
            headless=_flag(headless),
            jsonl=jsonl,
            on=on,
        ),
        jobs=jobs,
        debug=debugging(),
    )


@app.command()
def devices(debug: Debug = False) -> int:
    """List microphones with rates and channels; the default is marked."""
    from daemon.commands.devices import run

    return run()


@app.command()
def check(
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME|INDEX", help="The microphone to try.")
    ] = None,
    model: Model = None,
    config: Config = None,
    assignments: Assignments = None,
    log_file: LogFile = None,
    debug: Debug = False,
) -> int:
    """Try everything that listening needs; say how to mend what fails."""
    from daemon.commands.check import run

    return run(
        _sources(
            config,
            assignments,
            device=_device(device),
            model=model,
        )
    )


@app.command()
def bench(
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
    config: Config = None,
    assignments: Assignments = None,
    debug: Debug = False,
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

    return run(
        _sources(config, assignments, model=path or model),
        Plan(rounds, tuple(sorted({int(count) for count in counts})), seconds, recording),
        shape=shape,
        json_file=json_file,
        plot_file=plot_file,
        agree=agree or (),
    )


@app.command("config")
def config_(
    init: Annotated[
        bool, typer.Option("--init", help="Write a file with every default, to edit.")
    ] = False,
    model: Model = None,
    config: Config = None,
    assignments: Assignments = None,
    debug: Debug = False,
) -> int:
    """Print the settings in force and where each comes from."""
    from daemon.commands.config import run, write

    if init:
        return write(config)
    return run(_sources(config, assignments, model=model))


def _expanded(recordings: Sequence[str]) -> list[str]:
    """Wildcards, where the shell leaves them to the program."""
    if os.name != "nt":
        return list(recordings)
    return [
        name
        for pattern in recordings
        for name in (sorted(glob.glob(pattern)) or [pattern])  # noqa: PTH207 - paths stay as typed
    ]


@app.command()
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


@app.command()
def top(
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Watch this process.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Show the dashboard of a running intentd; q ends only this view."""
    from daemon.commands.top import run

    return run(pid=pid)


service = typer.Typer(help="Listen from login on, as a systemd user service.", no_args_is_help=True)
app.add_typer(service, name="service")


@service.command("install", context_settings={"ignore_unknown_options": True})
def service_install(
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
    from daemon.commands.service import install

    name = "serve" if serve else "live"
    arguments, sources, log_file = _options_of(name, options or [])
    return install(
        arguments,
        sources,
        log_file,
        command=name,
        sandbox=sandbox,
        network=network,
        write=write or (),
    )


@service.command("uninstall")
def service_uninstall(debug: Debug = False) -> int:
    """Stop the service and remove the unit."""
    from daemon.commands.service import uninstall

    return uninstall()


@service.command("status")
def service_status(debug: Debug = False) -> int:
    """Report the service: status 0 if it runs, 1 if not, 2 if there is none."""
    from daemon.commands.service import status

    return status()


def _options_of(name: str, options: Sequence[str]) -> tuple[list[str], Sources, Path | None]:
    """Validate options of `live` or `serve`.

    Returns them with absolute paths, as sources of settings, and the file of the log.
    """
    group: Any = typer.main.get_command(app)
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
    sources = _sources(
        Path(values["config"]) if values["config"] else None,
        values["assignments"],
        device=_device(values.get("device")),
        addresses=addresses or None,
        model=values["model"],
        jsonl=values["jsonl"],
        on=values["on"],
    )
    arguments += addresses
    log_file = values["log_file"]
    return arguments, sources, None if log_file is None else Path(log_file)


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
