"""Settings from all their layers, with the origin of every value."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.base.errors import UserError
from daemon.base.text import did_you_mean, escaped, value_text
from daemon.config.layers import (
    Layer,
    Origin,
    Overruled,
    merge,
    model_keys,
)
from daemon.config.settings import EVERY_INTENT, ModelSettings, Settings
from daemon.config.sources import (
    Sources,
    find_file,
    from_command_line,
    from_environment,
    in_directory,
    read_file,
)

NO_SOURCES: Final = Sources()


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

    def warnings(self, idle: Mapping[str, str] | None = None) -> list[str]:
        """Warnings about these settings, a sentence each.

        `idle`: dotted keys that change nothing with the model, each with its sentence.
        """
        idle = idle or {}
        overruled = [
            f"{each.origin} sets {each.key} = {value_text(each.value)} in place of the "
            f"{value_text(each.theirs)} that the model {escaped(self.model)} was measured with"
            for each in self.overruled
            if each.key not in idle
        ]
        return [*self.remarks, *overruled, *idle.values()]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Check that the model has the labels of thresholds and commands.

        Raises: UserError for one that it lacks.
        """
        named = [("events.thresholds", label) for label in self.settings.events.thresholds]
        named += [("on", label) for label in self.settings.on.actions if label != EVERY_INTENT]
        for table, label in named:
            if label not in labels:
                where = self.origins.get(f"{table}.{label}", Origin("default"))
                raise UserError(
                    f"{escaped(str(where))}: {table} names {value_text(label)}, which is no label "
                    f"of the model{did_you_mean(label, labels)} (it has "
                    f"{', '.join(escaped(name) for name in labels)})"
                )


def load_settings(
    sources: Sources = NO_SOURCES,
    *,
    environ: Mapping[str, str] | None = None,
    model: Callable[[ModelSettings], tuple[str, Mapping[str, Any]]] | None = None,
) -> Loaded:
    """Settings from all layers.

    Args:
        sources: what the command line says.
        environ: the environment; `os.environ` by default.
        model: called with the settings of the model once they are known; returns the model's name
            and what it supplies, `{section: {key: value}}`.

    Raises:
        UserError: a file can't be read, a key is unknown, a value is not possible.
    """
    remarks: list[str] = []
    if sources.config is not None:
        file: Layer | None = read_file(sources.config.expanduser())
    else:
        file, remark = find_file(in_directory()) if sources.search else (None, None)
        if remark:
            remarks.append(remark)
    variables, warnings = from_environment(os.environ if environ is None else environ)
    remarks += warnings
    layers = [
        *([file] if file else []),
        variables,
        from_command_line(sources),
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
