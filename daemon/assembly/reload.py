"""SIGHUP in a daemon: rereads settings and finds what can change live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.assembly.effect import without_effect
from daemon.assembly.setup import Setup
from daemon.base.errors import UserError
from daemon.base.network import without_path
from daemon.config import Loaded, Settings, load_settings
from daemon.config.lookup import value_of
from daemon.config.settings import ActionSettings
from daemon.messages import Status
from daemon.output.registry import OUTPUTS

APPLIED = frozenset(
    {"window.hop", "output.lag_warning", "serve.listen", "serve.clients", "serve.token_file"}
)
"""Keys that change at once, beside those of [events] and of the outputs."""


@dataclass(frozen=True, slots=True)
class Reread:
    """The settings read again, and what is to be done."""

    setup: Setup
    """With the settings that are in force from now on."""
    applied: tuple[str, ...]
    """Dotted keys that have changed and take effect now."""
    statuses: list[Status]
    """Published to the user."""


def reread(setup: Setup) -> Reread:
    """Read the settings of `setup` again.

    Raises: UserError if they are wrong in any place.
    """
    loaded = _load(setup)
    old, wanted = setup.settings, loaded.settings
    if wanted.window.hop > old.window.seconds:
        raise UserError(
            f"window.hop is {wanted.window.hop} and the windows have {old.window.seconds} s "
            "until the next start; lower it, or restart intentd"
        )
    idle = without_effect(loaded, setup.info)
    changed = list(differences(old, wanted))
    idle = {key: text for key, text in idle.items() if key in changed}
    changed = [key for key in changed if key not in idle]
    now = [key for key in changed if _takes_effect(key, old, wanted)]
    later = [key for key in changed if key not in now]
    new = _with(old, wanted, now)
    changes = ", ".join(_change(new, key) for key in now) or "nothing has changed"
    statuses = [Status(None, f"settings reloaded: {changes}")]
    if later:
        text = f"{', '.join(later)} will change at the next start, the rest has changed now"
        statuses.append(Status(None, text, "warning"))
    statuses += [Status(None, text, "warning") for text in idle.values()]
    return Reread(setup.having(new), tuple(now), statuses)


def _change(settings: Settings, key: str) -> str:
    """A changed setting for the user's eyes."""
    value = value_of(settings, key)
    if isinstance(value, ActionSettings):
        value = value.run
    elif any(kind.needs_network and kind.switch == key for kind in OUTPUTS):
        # A URL's path may be what only the receiver should know.
        value = without_path(value)
    return f"{key} is gone" if value is None else f"{key} = {value!r}"


def _load(setup: Setup) -> Loaded:
    loaded = load_settings(setup.sources, model=lambda _: (setup.model_name, setup.layer))
    if setup.file is not None and loaded.file is None:
        raise UserError(f"the settings file {setup.file} is gone; bring it back")
    loaded.check_labels(setup.info.labels)
    return loaded


def _takes_effect(key: str, old: Settings, new: Settings) -> bool:
    """Whether a change of `key` takes effect while the run goes on."""
    if key in APPLIED or key.startswith("events."):
        return True
    dependent = [kind for kind in OUTPUTS if kind.depends_on(key)]
    return bool(dependent) and all(kind.exchangeable(old, new) for kind in dependent)


def differences(one: Settings, other: Settings) -> list[str]:
    """The dotted keys whose values differ, in the order of the settings."""
    first, second = one.model_dump(), other.model_dump()
    return [
        f"{section}.{key}"
        for section, table in first.items()
        for key in dict.fromkeys((*table, *second[section]))
        if table.get(key) != second[section].get(key)
    ]


def _with(old: Settings, wanted: Settings, keys: Sequence[str]) -> Settings:
    """`old` with the values that `wanted` has for `keys`."""
    values: dict[str, dict[str, Any]] = old.model_dump()
    news: Mapping[str, dict[str, Any]] = wanted.model_dump()
    for dotted in keys:
        section, key = dotted.split(".", 1)
        if key in news[section]:
            values[section][key] = news[section][key]
        else:  # an intent of [on] that has no command any more
            del values[section][key]
    return Settings.model_validate(values)
