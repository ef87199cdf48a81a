"""config.toml as typed settings, in layers, with the origin of every value.

Precedence: built-in defaults < what the model's `intentd` key says < file < environment < command
line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.config.effect import Described, without_effect
from daemon.config.layers import (
    Layer,
    Origin,
    Overruled,
    did_you_mean,
    merge,
    model_keys,
    printable,
    shown,
)
from daemon.config.settings import (
    AudioSettings,
    EventSettings,
    GateSettings,
    ModelSettings,
    OutputSettings,
    RollingSettings,
    Settings,
    WindowSettings,
    keys,
)
from daemon.config.sources import (
    find_file,
    from_environment,
    from_options,
    in_directory,
    read_file,
    user_file,
)
from daemon.config.template import shipped_text, toml

__all__ = [
    "AudioSettings",
    "EventSettings",
    "GateSettings",
    "Layer",
    "Loaded",
    "ModelSettings",
    "Origin",
    "OutputSettings",
    "RollingSettings",
    "Settings",
    "WindowSettings",
    "keys",
    "load_settings",
    "model_keys",
    "printable",
    "shipped_text",
    "toml",
    "user_file",
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and how they came about."""

    settings: Settings
    origins: Mapping[str, Origin]
    remarks: tuple[str, ...]
    """On what was read."""
    file: str | None
    """The settings file that was read."""
    overruled: tuple[Overruled, ...] = ()
    """What the model supplies and others have set otherwise."""
    model: str = ""
    """The name of the model that was asked."""

    def warnings(self, model: Described | None = None) -> list[str]:
        """What the user should know of these settings, a sentence each; with `model`, also which
        of them change nothing."""
        idle = {} if model is None else self.without_effect(model)
        overruled = [
            f"{each.origin} sets {each.key} = {shown(each.value)} in place of the "
            f"{shown(each.theirs)} that the model {printable(self.model)} was measured with"
            for each in self.overruled
            if each.key not in idle
        ]
        return [*self.remarks, *overruled, *idle.values()]

    def without_effect(self, model: Described) -> dict[str, str]:
        """Dotted key to a sentence, for each setting that changes nothing with `model`."""
        return without_effect(self.settings, self.origins, model)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `UserError` for a threshold of a label that the model does not have."""
        for label in self.settings.events.thresholds:
            if label not in labels:
                key = f"events.thresholds.{label}"
                where = self.origins.get(key, Origin("default"))
                raise UserError(
                    f"{where}: events.thresholds names {shown(label)}, which is no label of the "
                    f"model{did_you_mean(label, labels)} (it has "
                    f"{', '.join(printable(name) for name in labels)})"
                )


def load_settings(
    config: str | Path | None = None,
    *,
    assignments: Sequence[str] = (),
    options: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    model: Callable[[ModelSettings], tuple[str, Mapping[str, Any]]] | None = None,
) -> Loaded:
    """Settings from all layers.

    Args:
        config: the file that `--config` names; without it ./config.toml and the user's are looked
            for.
        assignments: `section.key=value` strings of `--set`.
        options: options of the command line, dotted key to (option, value or None).
        environ: the environment; `os.environ` by default.
        model: called with the settings of the model once they are known; returns the model's name
            and what it supplies, `{section: {key: value}}`.

    Raises:
        UserError: a file can't be read, a key is unknown, a value is not possible.
    """
    remarks: list[str] = []
    if config is not None:
        file: Layer | None = read_file(Path(config).expanduser())
    else:
        file, remark = find_file(in_directory())
        if remark:
            remarks.append(remark)
    variables, warnings = from_environment(os.environ if environ is None else environ)
    remarks += warnings
    layers = [
        *([file] if file else []),
        variables,
        from_options(assignments, options or {}),
    ]
    merged, name = merge(layers), ""
    if model is not None:
        name, values = model(merged.settings.model)
        merged = merge([_model_layer(name, values), *layers])
    where = file.where if file else None
    return Loaded(merged.settings, merged.origins, tuple(remarks), where, merged.overruled, name)


def _model_layer(name: str, values: Mapping[str, Any]) -> Layer:
    supplied = {
        section: {key: value for key, value in table.items() if f"{section}.{key}" in model_keys()}
        for section, table in values.items()
    }
    return Layer("model", name, supplied)
