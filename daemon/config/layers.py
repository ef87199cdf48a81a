"""Layers of settings, one a source, each checked, then merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from daemon.base.errors import UserError
from daemon.base.text import did_you_mean, escaped, value_text
from daemon.config.lookup import at_most, field_of, from_model, keys, sections, value_of
from daemon.config.sentences import allowed
from daemon.config.settings import ActionSettings, OnSettings, Settings

Kind = Literal["default", "model", "file", "environment", "command line"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of a key's value."""

    kind: Kind
    where: str = ""
    """The file's path, the variable's name, the option."""

    def __str__(self) -> str:
        if self.kind == "default":
            return "default"
        if self.kind == "model":
            return f"the model {self.where}"
        return self.where


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one source, as in TOML: `{section: {key: value}}`."""

    kind: Kind
    where: str
    values: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    """What a dotted key is called at the source, where that differs (variables, options)."""

    def origin(self, key: str) -> Origin:
        return Origin(self.kind, self.names.get(key, self.where))

    def blame(self, key: str) -> str:
        """The key as the user wrote it, for the start of a sentence."""
        if key in self.names:
            return self.names[key]
        return f"{Origin(self.kind, self.where)}: {key}"


def _unknown(layer: Layer, path: tuple[str, ...]) -> UserError:
    tables = sections()
    dotted = ".".join(path)
    if path[0] not in tables:
        known = ", ".join(f"[{name}]" for name in tables)
        elsewhere = [f"{s}.{k}" for s, k, _ in keys() if k == path[0]]
        hint = f"; did you mean {elsewhere[0]}?" if elsewhere else did_you_mean(path[0], tables)
        return UserError(
            f"{escaped(layer.blame(dotted))} is no section of intentd's settings{hint} "
            f"(there are {known})"
        )
    by_intent = tables[path[0]] is OnSettings
    names = list((ActionSettings if by_intent else tables[path[0]]).model_fields)
    hint = did_you_mean(path[-1], names)
    table = ".".join(path[:-1])
    return UserError(
        f"{escaped(layer.blame(dotted))} is no setting{hint} "
        f"([{escaped(table)}] has {', '.join(names)})"
    )


def check_layer(layer: Layer) -> None:
    """Check a layer's keys and values.

    Raises: UserError, one sentence with source, key and what is allowed, for the first key of the
    layer that is unknown or has a value it can't have.
    """
    try:
        Settings.model_validate(dict(layer.values))
    except ValidationError as error:
        problem = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", len(e["loc"])))
    else:
        return
    path = tuple(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        raise _unknown(layer, path)
    if problem["type"] == "nothing_to_run":
        raise UserError(
            f"{escaped(layer.blame('.'.join(path)))} has nothing to run; give it run = "
            f"{allowed(ActionSettings.model_fields['run'])}"
        )
    if problem["type"] == "credentials":
        raise UserError(
            f"{escaped(layer.blame('.'.join(path)))} holds a user or a password, which would be "
            f"shown; they belong into a file, see [{path[-1]}]"
        )
    if problem["type"] == "model_type":
        table = escaped(".".join(path))
        raise UserError(
            f"{escaped(layer.blame('.'.join(path)))} is {value_text(problem['input'])}; it must be "
            f"a table, [{table}], with its keys below it"
        )
    section, key = path[0], path[1]
    model_field = field_of(section, *path[1:3])
    assert model_field is not None
    value: Any = layer.values[section][key]
    dotted = f"{section}.{key}"
    if isinstance(value, Mapping) and len(path) > 2 and path[2] in value:
        value, dotted = value[path[2]], f"{dotted}.{path[2]}"
    raise UserError(
        f"{escaped(layer.blame(dotted))} is {value_text(value)}; it must be {allowed(model_field)}"
    )


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf; a table of labels has a leaf a label."""
    for section, table in values.items():
        for key, value in table.items():
            if isinstance(value, Mapping):
                for label, inner in value.items():
                    yield f"{section}.{key}.{label}", inner
            else:
                yield f"{section}.{key}", value


@dataclass(frozen=True, slots=True)
class Overruled:
    """A key whose value is not the model's."""

    key: str
    theirs: Any
    """The model's value."""
    value: Any
    """The value in force."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Merged:
    settings: Settings
    origins: Mapping[str, Origin]
    """Dotted key to origin, for every key of the schema and every label of a table."""
    overruled: tuple[Overruled, ...]


def merge(layers: Iterable[Layer]) -> Merged:
    """Merge checked layers, later ones over earlier ones.

    Tables of labels are merged label by label.

    Raises: UserError where two keys do not go together.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in sections()}
    origins = {f"{section}.{key}": Origin("default") for section, key, _ in keys()}
    blames: dict[str, str] = {}
    supplied: dict[str, Any] = {}
    leaves: dict[str, Any] = {}
    for layer in layers:
        check_layer(layer)
        for section, table in layer.values.items():
            for key, value in table.items():
                if sections()[section] is OnSettings:
                    # As a whole: a command does not go with another layer's shell = true.
                    values[section][key] = value
                    origins[f"{section}.{key}"] = layer.origin(f"{section}.{key}")
                    for leaf in [leaf for leaf in origins if leaf.startswith(f"{section}.{key}.")]:
                        del origins[leaf]
                elif isinstance(value, Mapping):
                    values[section].setdefault(key, {}).update(value)
                    if value:
                        origins[f"{section}.{key}"] = layer.origin(f"{section}.{key}")
                else:
                    values[section][key] = value
        for dotted, value in flat(layer.values):
            origins[dotted] = layer.origin(dotted)
            blames[dotted] = layer.blame(dotted)
            leaves[dotted] = value
            if layer.kind == "model":
                supplied[dotted] = value
    settings = Settings.model_validate(values)
    _check_together(settings, blames)
    overruled = tuple(
        Overruled(dotted, value, leaves[dotted], origins[dotted])
        for dotted, value in supplied.items()
        if leaves[dotted] != value
    )
    return Merged(settings, origins, overruled)


def _check_together(settings: Settings, blames: Mapping[str, str]) -> None:
    limits = []
    for section, name, model_field in keys():
        limit = at_most(model_field)
        if limit is not None:
            limits.append((f"{section}.{name}", *limit))
    if settings.window.widest_hop:
        limits.append(("window.hop", "window.widest_hop", "leave no room to widen"))
    for key, other, harm in limits:
        value, limit_value = value_of(settings, key), value_of(settings, other)
        if value > limit_value:
            first = escaped(blames.get(key, f"{key} (by default)"))
            second = escaped(blames.get(other, f"{other} (by default)"))
            raise UserError(
                f"{first} is {value} and {second} is {limit_value}; "
                f"{key} above {other} would {harm}, lower it or raise the other"
            )


def model_keys() -> frozenset[str]:
    """The dotted keys that a model may bring along."""
    return frozenset(f"{s}.{k}" for s, k, model_field in keys() if from_model(model_field))
