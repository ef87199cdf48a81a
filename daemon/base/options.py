"""The root of both command lines, and the options that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon import __version__
from daemon.base.logs import logs


def new_app(about: str) -> typer.Typer:
    """A command line without commands yet; `about` is its help."""
    return typer.Typer(
        help=about,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def version_option(program: str) -> Any:
    """The option --version, which prints the version of `program` and ends it."""

    def show(wanted: bool) -> None:
        if wanted:
            print(f"{program} {__version__}", flush=True)
            raise typer.Exit

    return typer.Option(
        "--version", help="Print the version and end.", is_eager=True, callback=show
    )


def _want_debug(value: bool) -> bool:
    if value:
        logs.want_debug()
    return value


def _log_to_file(value: Path | None) -> Path | None:
    """Raises: UserError if the file can't be written."""
    if value is not None:
        logs.to_file(value)
    return value


# Both may stand before a command and after it.
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Write the log to stderr, tracebacks too.",
        callback=_want_debug,
        is_eager=True,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append the log to a file, for a bug report.",
        callback=_log_to_file,
        is_eager=True,
    ),
]
