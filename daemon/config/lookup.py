"""Looks up settings, and what their classes say of them, by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from daemon.config.settings import ActionSettings, OnSettings, Section, Settings


def sections() -> dict[str, type[Section]]:
    """The tables of config.toml by name, in their order."""
    found: dict[str, type[Section]] = {}
    for name, field in Settings.model_fields.items():
        table = field.annotation
        assert isinstance(table, type) and issubclass(table, Section)
        found[name] = table
    return found


def keys() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every (section, key, field), in order."""
    for section, table in sections().items():
        for name, field in table.model_fields.items():
            yield section, name, field


def field_of(section: str, key: str, inner: str = "") -> FieldInfo | None:
    """Field of `section.key`, or `section.key.inner` in tables; else None."""
    table = sections().get(section)
    if table is OnSettings:
        return ActionSettings.model_fields.get(inner)
    return table.model_fields.get(key) if table is not None else None


def value_of(settings: Settings, key: str) -> Any:
    """Value of a section or dotted key; None for an [on] intent without table."""
    section, _, name = key.partition(".")
    table = getattr(settings, section)
    if isinstance(table, OnSettings) and name:
        return table.actions.get(name)
    return getattr(table, name) if name else table


def from_model(field: FieldInfo) -> bool:
    """Whether a model may bring the setting along."""
    return bool(hints(field)["from_model"])


def at_most(field: FieldInfo) -> tuple[str, str] | None:
    """The key that a setting must not exceed, and the reason."""
    found = hints(field).get("at_most")
    return (str(found[0]), str(found[1])) if isinstance(found, list) else None


def secret_variables() -> frozenset[str]:
    """Variables that hold secrets; no setting may, since it would be shown."""
    return frozenset(str(hints(field)["secret"]) for _, _, field in keys()) - {""}


def hints(field: FieldInfo) -> JsonDict:
    """Arguments of `setting` beside pydantic's limits."""
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra
