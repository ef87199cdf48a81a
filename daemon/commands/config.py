"""`intentd config`: the settings in force and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path

from daemon.assembly.effect import without_effect
from daemon.assembly.setup import model_layer, note, read_info
from daemon.base.errors import UserError, os_reason
from daemon.base.text import escaped
from daemon.config import (
    Loaded,
    Sources,
    load_settings,
    shipped_text,
    toml,
    user_file,
)
from daemon.config.lookup import sections
from daemon.config.settings import OnSettings


def run(sources: Sources) -> int:
    """Print every key with its value and origin, as TOML.

    Status 1 if the model, which may bring settings along, can't be read.
    """
    failure: UserError | None = None
    try:
        loaded = load_settings(sources, model=model_layer)
        warnings = loaded.warnings(without_effect(loaded, read_info(loaded.settings.model)))
    except UserError as error:
        # Wrong settings fail here again; a model that can't be read leaves the rest to show.
        loaded = load_settings(sources)
        warnings = loaded.warnings()
        failure = error
    for warning in warnings:
        note(warning)
    print(text(loaded), flush=True)
    if failure is not None:
        note(f"{failure} (so the settings that the model brings along are not shown)")
        return 1
    return 0


def text(loaded: Loaded) -> str:
    """The settings as TOML; a comment behind each value tells its origin."""
    lines = [f"# settings file: {loaded.file or 'none found, looked for ./config.toml and'}"]
    if loaded.file is None:
        lines[0] += f" {escaped(str(user_file()))}"
    rows: list[tuple[str, str]] = []
    for name, table in sections().items():
        rows += [("", ""), (f"[{name}]", "")]
        for key in table.model_fields:
            rows += _key_rows(loaded, name, key)
        if table is OnSettings:
            rows += _action_rows(loaded)
    width = max(len(left) for left, right in rows if right and len(left) <= 48)
    lines += [f"{left:<{width}}  # {right}" if right else left for left, right in rows]
    return "\n".join(lines)


def _key_rows(loaded: Loaded, section: str, key: str) -> list[tuple[str, str]]:
    value = getattr(getattr(loaded.settings, section), key)
    dotted = f"{section}.{key}"
    if isinstance(value, dict) and value:
        # Labels may come from different places, so each has its line.
        return [
            (
                f"{key}.{_toml_key(label)} = {toml(inner)}",
                escaped(str(loaded.origins[f"{dotted}.{label}"])),
            )
            for label, inner in value.items()
        ]
    return [(f"{key} = {toml(value)}", escaped(str(loaded.origins[dotted])))]


def _action_rows(loaded: Loaded) -> list[tuple[str, str]]:
    return [
        (f"{_toml_key(intent)}.{key} = {toml(value)}", escaped(str(loaded.origins[f"on.{intent}"])))
        for intent, action in loaded.settings.on.actions.items()
        for key, value in action.model_dump(exclude_defaults=True).items()
    ]


def _toml_key(label: str) -> str:
    bare = label.isascii() and label.replace("_", "").replace("-", "").isalnum()
    return label if bare else json.dumps(label, ensure_ascii=True)


def write(path: Path | None) -> int:
    """Write the shipped file to `path`, by default the user's settings.

    That is where they are looked for.
    """
    target = path.expanduser() if path is not None else user_file()
    shown = escaped(str(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(shipped_text())
    except FileExistsError:
        raise UserError(f"{shown} exists already; edit it, or name another with --config") from None
    except OSError as error:
        raise UserError(
            f"{shown} can't be written ({os_reason(error)}); name another with --config"
        ) from None
    print(shown, flush=True)
    return 0
