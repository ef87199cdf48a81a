"""Settings from texts, variables and a model, and how they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon.base.errors import UserError
from daemon.config import (
    Loaded,
    Sources,
    load_settings,
)

GIVEN = Sources(Path("given.toml"))


def load(text: str = "", *assignments: str, environ: dict[str, str] | None = None) -> Loaded:
    Path("given.toml").write_text(text)
    return load_settings(Sources(Path("given.toml"), assignments), environ=environ or {})


def refusal(text: str = "", *assignments: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(text, *assignments, environ=environ)
    assert caught.value.status == 2
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def from_model(values: Mapping[str, Any], text: str = "") -> Loaded:
    Path("given.toml").write_text(text)
    return load_settings(GIVEN, environ={}, model=lambda _: ("tiny", dict(values)))
