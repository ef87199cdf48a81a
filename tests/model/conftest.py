"""Checkpoints that several modules only read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.model_checkpoints import save

from daemon.model.backends import conversion, table


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose among float32 backends only, also on processors with bfloat16.

    The tests compare with them to a ten-thousandth; those about bfloat16 ask for it.
    """
    monkeypatch.setattr(table, "has_fast_bf16", lambda: False)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of the tiny checkpoint of a kind, made once."""
    made: dict[str, Path] = {}

    def get(kind: str = "wav2vec2") -> Path:
        if kind not in made:
            made[kind] = save(tmp_path_factory.mktemp("models") / kind, kind)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `own_graphs` keeps the graphs of a module's tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_graphs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are made anew, once for all tests of a module."""
    monkeypatch.setattr(conversion, "cache_directory", lambda: cache)
