"""Settings that have no effect with the model in use are found and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from daemon.assembly.effect import without_effect
from daemon.config import Loaded, Sources, load_settings
from daemon.model.description.info import ModelInfo, read_model_info
from daemon.model.description.resolve import resolve_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def from_model(values: Mapping[str, Mapping[str, Any]], text: str = "") -> Loaded:
    Path("given.toml").write_text(text)
    return load_settings(Sources(Path("given.toml")), environ={}, model=lambda _: ("tiny", values))


def model(unit: Literal["word", "utterance"] = "word") -> ModelInfo:
    """The bundled model's description, with other labels."""
    info = read_model_info(resolve_model(""))
    labels = ("up", "down", "unknown")
    calibration = replace(info.calibration, unit=unit, non_intents=frozenset({"unknown"}))
    return replace(info, labels=labels, calibration=calibration)


def warnings(loaded: Loaded, unit: Literal["word", "utterance"] = "word") -> list[str]:
    return loaded.warnings(without_effect(loaded, model(unit)))


def test_what_changes_nothing_with_the_model_is_reported() -> None:
    supplied: dict[str, dict[str, Any]] = {
        "events": {"threshold": 0.7, "thresholds": {"up": 0.5, "down": 0.6, "unknown": 0.3}},
        "rolling": {"windows": 3, "forgetting": 1.0},
    }
    words = from_model(
        supplied,
        "[events]\nthreshold = 0.9\nthresholds = {unknown = 0.4}\n[rolling]\nforgetting = 0.8",
    )
    assert warnings(words) == [
        "given.toml sets events.threshold, which changes nothing: every intent has its own "
        "threshold; set events.thresholds, for example events.thresholds.up",
        "given.toml sets events.thresholds.unknown, which changes nothing: unknown is no intent "
        "and never an event",
        "given.toml sets rolling.forgetting, which changes nothing: the model classifies words",
    ]
    (overruled,) = warnings(from_model(supplied, "[rolling]\nforgetting = 0.8"), "utterance")
    assert "in place of the 1.0" in overruled
    (idle,) = warnings(from_model(supplied, "[rolling]\nwindows = 5"), "utterance")
    assert idle.endswith("rolling.windows, which changes nothing: the model classifies utterances")
    # What the model brings along itself is nobody's mistake, and a default is none either.
    assert warnings(from_model(supplied)) == []


def test_the_threshold_counts_while_an_intent_has_none_of_its_own() -> None:
    supplied = {"events": {"threshold": 0.7, "thresholds": {"up": 0.5}}}
    (warning,) = warnings(from_model(supplied, "[events]\nthreshold = 0.9"))
    assert "in place of the 0.7" in warning
