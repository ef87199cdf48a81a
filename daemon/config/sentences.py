"""Allowed values of settings in words, from their types and limits."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from daemon.config.lookup import at_most, hints


def allowed(field: FieldInfo) -> str:
    """The allowed values of a setting; completes "it must be …"."""
    extra = hints(field)
    if extra["allowed"]:
        return str(extra["allowed"])
    unit = f" {extra['unit']}" if extra["unit"] else ""
    limit = at_most(field)
    text = _choices(field.annotation, field.metadata, unit, limit[0] if limit else "")
    return f"{text} ({extra['note']})" if extra["note"] else text


def _choices(kind: Any, limits: Sequence[Any], unit: str, highest: str) -> str:
    """A type with its limits."""
    origin, inner = get_origin(kind), get_args(kind)
    text = ""
    if kind is bool:
        text = "true or false"
    elif origin is Literal:
        words = [f'"{word}"' if isinstance(word, str) else str(word) for word in inner]
        text = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    elif origin is Annotated:
        text = _choices(inner[0], getattr(inner[1], "metadata", ()), unit, highest)
    elif origin in (Union, types.UnionType):
        text = " or ".join(_choices(each, (), unit, highest) for each in inner)
    elif origin is list:
        words = [f'"{word}"' for word in get_args(inner[0])]
        text = f"a list with one or more of {', '.join(words)}"
    elif origin is dict:
        text = f"a table of labels, each with a value from {_choices(inner[1], (), '', '')}"
    else:
        text = _interval(limits, unit, highest)
    return text


def _interval(limits: Sequence[Any], unit: str, highest: str) -> str:
    """A number's limits in words; `highest` is a key it must not exceed."""
    found = {name: getattr(each, name) for each in limits for name in ("ge", "gt", "le")
             if hasattr(each, name)}  # fmt: skip
    if "gt" in found:
        return f"above {found['gt']:g}, at most {found['le']:g}{unit}"
    least = f"{found['ge']:g}"
    return f"{least}{unit} to {highest}" if highest else f"{least} to {found['le']:g}{unit}"
