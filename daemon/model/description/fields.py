"""Typed, bounded reading of untrusted JSON; errors name file and key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.base.text import value_text
from daemon.model.description.files import read_bytes

Scalar = str | int | float | bool


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """Read the JSON object in a file of at most `limit` bytes.

    Raises:
        UserError: the file can't be read, or holds no JSON object.
    """
    try:
        found = json.loads(read_bytes(path, limit))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save the model again") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be a model's; save it again") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); save the model again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; save the model again")
    return found


class Fields:
    """The keys of one table of a file, each read with its type and range.

    Every method raises `UserError` with file, key, value and what is allowed. A key that is
    absent or null yields the default.
    """

    def __init__(self, file: Path, table: Mapping[str, Any], prefix: str = "") -> None:
        self.file = file
        self.table = table
        self.prefix = prefix

    def refuse(self, key: str, allowed: str) -> UserError:
        value = value_text(self.table.get(key))
        return UserError(f"{self.file}: {self.prefix}{key} is {value}; it must be {allowed}")

    def has(self, key: str) -> bool:
        return self.table.get(key) is not None

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self.table.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        value = self.table.get(key)
        if value is None:
            return default
        if not _is_number(value) or not low <= value <= high:
            raise self.refuse(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.table.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def text(self, key: str, default: str, longest: int = 256) -> str:
        value = self.table.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > longest:
            raise self.refuse(key, f"a string of at most {longest} characters")
        return value

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.table.get(key)
        if value is None:
            return default
        if value not in allowed:
            raise self.refuse(key, " or ".join(f'"{name}"' for name in allowed))
        return str(value)

    def integers(
        self, key: str, default: tuple[int, ...], low: int, high: int, most: int = 64
    ) -> tuple[int, ...]:
        value = self.table.get(key)
        if value is None:
            return default
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= most
            or any(isinstance(n, bool) or not isinstance(n, int) for n in value)
            or not all(low <= n <= high for n in value)
        ):
            raise self.refuse(key, f"a list of 1 to {most} whole numbers from {low} to {high}")
        return tuple(value)

    def strings(self, key: str, most: int) -> tuple[str, ...]:
        value = self.table.get(key)
        if value is None:
            return ()
        if (
            not isinstance(value, list)
            or len(value) > most
            or not all(isinstance(s, str) for s in value)
        ):
            raise self.refuse(key, f"a list of at most {most} strings")
        return tuple(value)

    def child(self, key: str, most: int = 100_000) -> Fields:
        """The table under `key`; an empty one where the key is absent."""
        value = self.table.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict) or len(value) > most:
            raise self.refuse(key, f"a table of at most {most} entries")
        return Fields(self.file, value, f"{self.prefix}{key}.")

    def scalars(self) -> dict[str, Scalar]:
        """The whole table, if it is one of strings, finite numbers and flags."""
        for key, value in self.table.items():
            if not isinstance(value, str | bool) and not _is_number(value):
                raise self.refuse(key, "a string, a finite number, true or false")
        return dict(self.table)

    def numbers(self, low: float, high: float) -> dict[str, float]:
        """The whole table, if it is one of numbers from `low` to `high`."""
        for key, value in self.table.items():
            if not _is_number(value) or not low <= value <= high:
                raise self.refuse(key, f"a number from {low:g} to {high:g}")
        return {key: float(value) for key, value in self.table.items()}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)
