"""The user's layers: config.toml, INTENTD_… variables, options."""

from __future__ import annotations

import contextlib
import os
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from daemon.base.errors import UserError, os_reason
from daemon.base.text import closest, did_you_mean, escaped, split_assignment, value_text
from daemon.base.text_files import decode_text
from daemon.config.layers import Layer
from daemon.config.lookup import field_of, keys, secret_variables, sections
from daemon.config.sentences import allowed
from daemon.config.settings import OnSettings

PREFIX = "INTENTD_"
MAX_BYTES = 1 << 20
"""More than any settings need; keeps a wrong path from being read into memory whole."""
MOST_DOTS = 1000
"""In one line, which may be a path's."""


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that an option of the command line gives."""

    key: str
    """The dotted key."""
    flag: str
    """The option as the user wrote it, for example "--device"."""
    value: Any
    """None: the option was not given."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a command line says of the settings."""

    config: Path | None = None
    """The file that --config names; without one it is looked for."""
    assignments: tuple[str, ...] = ()
    """`section.key=value` strings of --set."""
    options: tuple[Option, ...] = ()
    search: bool = True
    """Look for a file where `config` names none."""

    def having(self, *options: Option, assignments: Sequence[str] = ()) -> Sources:
        """The same with more options, which go before those of the same key."""
        kept = [each for each in self.options if each.key not in {o.key for o in options}]
        return replace(
            self,
            options=(*kept, *options),
            assignments=(*self.assignments, *assignments),
        )


def user_file() -> Path:
    """config.toml in the user's config folder (XDG where used)."""
    from platformdirs import user_config_path

    return user_config_path("intentd", appauthor=False) / "config.toml"


def read_file(path: Path) -> Layer:
    """The layer of one file.

    Raises: UserError if it can't be read or is no TOML.
    """
    name = escaped(str(path))
    if not path.exists():
        raise UserError(f"there is no settings file {name}; give --config a file that exists")
    if not path.is_file():
        raise UserError(f"{name} is not a regular file; give --config a TOML file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise UserError(f"{name} is larger than 1 MiB, which no settings file of intentd is")
        values = _parse(decode_text(raw))
    except OSError as error:
        raise UserError(
            f"{name} can't be read ({os_reason(error)}); check its permissions"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{name} is not valid TOML: {escaped(str(why))}") from None
    return Layer("file", name, values)


def _parse(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises: ValueError (TOMLDecodeError is one) or RecursionError if it is none.
    """
    # The parser's time grows with the square of a key's parts, and nobody's keys have so many.
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise RecursionError
    return tomllib.loads(text)


def find_file(directory: Path) -> tuple[Layer | None, str | None]:
    """Find ./config.toml, or else the user's; return its layer and a remark.

    Either may be None.

    A config.toml in the working directory may belong to another program (Hugo's, Cargo's): it is
    taken for intentd's if it has one of our sections, or nothing at all, and is passed over with a
    remark otherwise. One that can't be read is an error: to pass over settings that the user meant
    would be worse than to stop.
    """
    remark = None
    local = directory / "config.toml"
    if local.is_file():
        layer = read_file(local)
        layer = Layer("file", "./config.toml", layer.values)
        if _ours(layer.values):
            return _without_commands(layer)
        names = [name for name in layer.values if did_you_mean(name, sections())]
        hint = did_you_mean(names[0], (f"{s}" for s in sections())) if names else ""
        remark = (
            "./config.toml has none of intentd's sections, so it is passed over as another "
            f"program's{hint} (--config ./config.toml insists on it)"
        )
    try:
        home = user_file()
        found = home.is_file()
    except (OSError, RuntimeError):  # no home folder, or one that may not be looked into
        return None, remark
    return (read_file(home) if found else None), remark


def _without_commands(layer: Layer) -> tuple[Layer, str | None]:
    """The layer of a file without its commands, and a remark on them.

    A file that is merely found in the working directory may be a stranger's, whose commands must
    not be run.
    """
    if not layer.values.get("on"):
        return layer, None
    kept = {name: table for name, table in layer.values.items() if name != "on"}
    remark = (
        f"{layer.where} has commands ([on]), which are run only from a file that --config names "
        f"or from {escaped(str(user_file()))}, so they are passed over"
    )
    return replace(layer, values=kept), remark


def _ours(values: Mapping[str, Any]) -> bool:
    return not values or any(
        isinstance(values.get(name), dict)
        and (not values[name] or not _keys_of(name, values[name]).isdisjoint(values[name]))
        for name in sections()
    )


def _keys_of(section: str, table: Mapping[str, Any]) -> set[str]:
    """Keys of a section; of [on] those of `table` that look like commands."""
    if sections()[section] is OnSettings:
        return {name for name, value in table.items() if isinstance(value, dict) and "run" in value}
    return set(sections()[section].model_fields)


def from_environment(environ: Mapping[str, str]) -> tuple[Layer, list[str]]:
    """Layer of variables INTENTD_SECTION__KEY, and warnings.

    Also INTENTD_EVENTS__THRESHOLDS__LABEL. A value is written as on a line of config.toml, quotes
    left out. The warnings are about variables that look like a setting and are none.
    """
    values: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    warnings: list[str] = []
    known = {f"{PREFIX}{s}__{k}".upper() for s, k, _ in keys()}
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        path = variable[len(PREFIX) :].split("__")
        if len(path) < 2:
            # Container platforms make variables too (INTENTD_SERVICE_HOST), so that
            # only what is close to a setting deserves a word.
            if variable in secret_variables():
                continue
            near = closest(variable, {name.lower() for name in known}, 0.85)
            if near is not None:
                warnings.append(f"{escaped(variable)} is no setting; did you mean {near.upper()}?")
            continue
        _put(values, names, path, environ[variable], variable)
    return Layer("environment", "environment", values, names), warnings


def from_command_line(sources: Sources) -> Layer:
    """The layer of assignments and options.

    Raises: UserError for what is no assignment.
    """
    values: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for assignment in sources.assignments:
        path, text = split_assignment(assignment, "gate.kind=off", parts=2)
        _put(values, names, path, text, f"--set {'.'.join(path)}")
    for option in sources.options:
        if option.value is None:
            continue
        section, key = option.key.split(".", 1)
        values.setdefault(section, {})[key] = option.value
        names[option.key] = option.flag
        if isinstance(option.value, dict):
            names.update({f"{option.key}.{inner}": option.flag for inner in option.value})
    return Layer("command line", "command line", values, names)


def commands_by_intent(assignments: Sequence[str]) -> list[Option]:
    """INTENT=COMMAND arguments of --on as options.

    Raises: UserError for what is none.
    """
    options: dict[str, Option] = {}
    for assignment in assignments:
        intent, equals, command = assignment.partition("=")
        intent = intent.strip()
        words = split_command(command, f"--on {intent}") if equals and intent else []
        if not words:
            raise UserError(
                f"--on {value_text(assignment)} must look like INTENT=COMMAND, "
                "for example --on 'left=notify-send left'"
            )
        if intent in options:
            raise UserError(
                f"--on {escaped(intent)} is given twice; put both commands into one script"
            )
        options[intent] = Option(f"on.{intent}", f"--on {intent}", {"run": words})
    return list(options.values())


def _put(
    values: dict[str, dict[str, Any]],
    names: dict[str, str],
    path: Sequence[str],
    text: str,
    source: str,
) -> None:
    section, key = path[0].lower(), path[1].lower()
    table = values.setdefault(section, {})
    names.setdefault(section, source)
    if sections().get(section) is OnSettings and len(path) > 2:
        _put_action(table, names, path, text, source)
        return
    model_field = field_of(section, key)
    if len(path) == 2:
        table[key] = _parsed(model_field, text, source)
        names[f"{section}.{key}"] = source
        if isinstance(table[key], dict):
            names.update({f"{section}.{key}.{label}": source for label in table[key]})
        return
    label = "__".join(path[2:]) if source.startswith(PREFIX) else ".".join(path[2:])
    label = label.lower() if label.isupper() else label
    if model_field is not None and not _is_table(model_field):
        raise UserError(f"{escaped(source)} is no setting: {section}.{key} is no table")
    inner = table.setdefault(key, {})
    if not isinstance(inner, dict):
        inner = table[key] = {}
    inner[label] = _number(text)
    names.setdefault(f"{section}.{key}", source)
    names[f"{section}.{key}.{label}"] = source


def _put_action(
    table: dict[str, Any], names: dict[str, str], path: Sequence[str], text: str, source: str
) -> None:
    """A key of a table of [on]: on.INTENT.run, on.INTENT.shell."""
    *label, key = path[1:]
    intent = "__".join(label) if source.startswith(PREFIX) else ".".join(label)
    intent, key = intent.lower() if intent.isupper() else intent, key.lower()
    values = table.setdefault(intent, {})
    values[key] = _parsed(field_of("on", intent, key), text, source)
    names[f"on.{intent}"] = names[f"on.{intent}.{key}"] = source


def _is_table(model_field: FieldInfo) -> bool:
    return isinstance(model_field.get_default(call_default_factory=True), dict)


def _parsed(model_field: FieldInfo | None, text: str, source: str) -> Any:
    """Text from the shell as a value of its key's type.

    What doesn't parse stays text, and is refused by the check of the layer in the words of its key.
    """
    if model_field is None:
        return text
    if _is_table(model_field):
        try:
            table = _parse(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict):
            raise UserError(
                f"{escaped(source)} is {value_text(text)}; it must be {allowed(model_field)}, "
                "written {label = 0.8}"
            )
        return table
    default = model_field.get_default(call_default_factory=True)
    if isinstance(default, list):
        return _names(text) if default else _words(text, source)  # a command has any words
    if isinstance(default, bool):
        word = text.strip().lower()
        yes, no = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
        return True if word in yes else False if word in no else text
    if isinstance(default, int | float):
        return _number(text)
    numeric = "int" in str(model_field.annotation)  # a name or a number: device, channel
    return int(text) if numeric and text.isascii() and text.isdigit() else text


def _names(text: str) -> list[str]:
    """A list of names, in brackets and quotes or without."""
    words = text.strip().removeprefix("[").removesuffix("]").split(",")
    return [word.strip().strip("\"'") for word in words]


def _words(text: str, source: str) -> list[Any]:
    """A command: a list as in TOML, or words as a shell splits them."""
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return list(_parse(f"value = {text}")["value"])
    return split_command(text, source)


def split_command(text: str, source: str) -> list[str]:
    """Words as a POSIX shell splits them; nothing is expanded.

    Raises: UserError.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"{escaped(source)} is {value_text(text)}, which can't be split into words "
            f"({str(error).lower()}); close the quotation"
        ) from None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def in_directory() -> Path:
    """The working directory, "." where it has been deleted under us."""
    try:
        return Path(os.getcwd())  # noqa: PTH109
    except OSError:
        return Path()
