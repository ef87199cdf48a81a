"""SIGHUP in a daemon: config.toml is read again, and what can change while it listens changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from daemon.assembly.session import Setup
from daemon.base.errors import UserError
from daemon.config import Loaded, Settings, load_settings
from daemon.messages import RunInfo, Status
from daemon.output.base import Output
from daemon.output.dispatch import Dispatcher
from daemon.runtime.worker import Worker

APPLIED = frozenset({"window.hop", "output.jsonl", "output.lag_warning"})
"""Keys that change at once, beside those of [events]."""


class Reloader:
    """Reads the settings again when it is called, and says what came of it.

    make: the outputs of settings, given those in use, which are used again where they serve.
    """

    def __init__(
        self,
        setup: Setup,
        run: RunInfo,
        worker: Worker,
        dispatcher: Dispatcher,
        outputs: Sequence[Output],
        make: Callable[[Settings, Settings, Sequence[Output]], Sequence[Output]],
    ) -> None:
        self._setup = setup
        self._run = run
        self._worker = worker
        self._dispatcher = dispatcher
        self._outputs = list(outputs)
        self._make = make

    def __call__(self) -> list[Status]:
        """Never raises: settings that are wrong in any place leave all as it was."""
        try:
            return self._apply(self._read())
        except UserError as error:
            return [Status(None, f"{error} (nothing was reloaded, the old settings stay)", "error")]

    def _read(self) -> Loaded:
        setup = self._setup
        loaded = load_settings(
            **setup.layers, model=lambda _: (setup.model_name, setup.info.settings())
        )
        if setup.file is not None and loaded.file is None:
            raise UserError(f"the settings file {setup.file} is gone; bring it back")
        loaded.check_labels(setup.info.labels)
        return loaded

    def _apply(self, loaded: Loaded) -> list[Status]:
        wanted = loaded.settings
        old = self._setup.settings
        if wanted.window.hop > old.window.seconds:
            raise UserError(
                f"window.hop is {wanted.window.hop} and the windows have {old.window.seconds} s "
                "until the next start; lower it, or start intentd anew"
            )
        idle = loaded.without_effect(self._setup.info)
        changed = list(differences(old, wanted))
        idle = {key: text for key, text in idle.items() if key in changed}
        changed = [key for key in changed if key not in idle]
        now = [key for key in changed if key in APPLIED or key.startswith("events.")]
        later = [key for key in changed if key not in now]
        if "output.jsonl" in now and "-" in (old.output.jsonl, wanted.output.jsonl):
            # Who owns standard output is settled at the start.
            now.remove("output.jsonl")
            later.append("output.jsonl")
        new = _with(old, wanted, now)
        if "output.jsonl" in now:
            outputs = self._make(old, new, self._outputs)
            self._dispatcher.exchange(outputs, replace(self._run, hop=new.window.hop))
            self._outputs = list(outputs)
        self._setup = self._setup.having(new)
        if now:
            self._worker.adopt(
                hop=new.window.hop, events=self._setup.events, lag_warning=new.output.lag_warning
            )
        told = ", ".join(f"{key} = {_value(new, key)!r}" for key in now) or "nothing has changed"
        statuses = [Status(None, f"settings reloaded: {told}")]
        if later:
            text = f"{', '.join(later)} will change at the next start, the rest has changed now"
            statuses.append(Status(None, text, "warning"))
        statuses += [Status(None, text, "warning") for text in idle.values()]
        return statuses


def differences(one: Settings, other: Settings) -> list[str]:
    """The dotted keys whose values differ, in the order of the settings."""
    first, second = one.model_dump(), other.model_dump()
    return [
        f"{section}.{key}"
        for section, table in first.items()
        for key, value in table.items()
        if value != second[section][key]
    ]


def _with(old: Settings, wanted: Settings, keys: Sequence[str]) -> Settings:
    """`old` with the values that `wanted` has for `keys`."""
    values: dict[str, dict[str, Any]] = old.model_dump()
    news: Mapping[str, dict[str, Any]] = wanted.model_dump()
    for dotted in keys:
        section, key = dotted.split(".", 1)
        values[section][key] = news[section][key]
    return Settings.model_validate(values)


def _value(settings: Settings, dotted: str) -> object:
    section, key = dotted.split(".", 1)
    return getattr(getattr(settings, section), key)
