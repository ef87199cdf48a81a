"""Options that commands share, and what they say of the settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from daemon.base.options import Debug, LogFile

if TYPE_CHECKING:
    from daemon.config import Sources

Command = Callable[..., int]

Model = Annotated[
    str | None, typer.Option("--model", metavar="DIR|HUB_ID", help="The model to run.")
]

OPTIONS: dict[str, Any] = {
    "device": Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME|INDEX", help="The microphone: part of its name, or its index."
        ),
    ],
    "model": Model,
    "config": Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings to use (config.toml).")
    ],
    "headless": Annotated[
        bool, typer.Option("--headless", help="Plain lines in place of the dashboard.")
    ],
    "jsonl": Annotated[
        str | None,
        typer.Option(
            "--jsonl", metavar="FILE|-", help='JSON lines to a file, "-": standard output.'
        ),
    ],
    "on": Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="INTENT=COMMAND",
            help="Run a command when it is spoken; * is every intent. May be repeated.",
        ),
    ],
    "wait_for_device": Annotated[
        bool, typer.Option("--wait-for-device", help="Wait for the microphone to appear.")
    ],
    "assignments": Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, as in --set gate.kind=off."),
    ],
    "log_file": LogFile,
    "debug": Debug,
}
"""By the names of their parameters."""

KEYS = {
    "addresses": "serve.listen",
    "device": "audio.device",
    "wait_for_device": "audio.wait_for_device",
    "model": "model.path",
    "headless": "output.headless",
    "jsonl": "output.jsonl",
}
"""The settings that options of the same meaning give."""


def with_options(*names: str) -> Callable[[Command], Command]:
    """Decorator that adds options of `OPTIONS` to a command, behind its own.

    The command gets what they say of the settings as `sources`, in place of the options.
    """

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, localns={"Sources": object}, include_extras=True)
        own = [
            parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
            for name, parameter in inspect.signature(command).parameters.items()
            if name != "sources"
        ]
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if OPTIONS[name].__origin__ is bool else None,
                annotation=OPTIONS[name],
            )
            for name in names
        ]

        def run(**given: Any) -> int:
            options = {name: given.pop(name) for name in names}
            return command(**given, sources=sources_of(options))

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {each.name: each.annotation for each in [*own, *shared]}
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return run

    return decorate


def sources_of(options: dict[str, Any]) -> Sources:
    """What options, by name, say of the settings; None says nothing."""
    from daemon.config.sources import Option, Sources, commands_by_intent

    given = [
        Option(key, _flag_of(name), _value(name, options[name]))
        for name, key in KEYS.items()
        if name in options
    ]
    given += commands_by_intent(options.get("on") or ())
    assignments = options.get("assignments") or ()
    return Sources(options.get("config"), tuple(assignments), tuple(given))


def _flag_of(name: str) -> str:
    """How the user gives it."""
    return "ADDRESS" if name == "addresses" else f"--{name.replace('_', '-')}"


def _value(name: str, given: Any) -> Any:
    """The value for the setting; None says nothing."""
    if name == "device" and isinstance(given, str) and given.isascii() and given.isdigit():
        return int(given)
    # A flag that isn't given says nothing, rather than "false" over the file's "true".
    return None if given is False or given == [] else given
