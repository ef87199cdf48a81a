"""The `intentd` key of config.json: window, thresholds, settings.

Reading and writing are here side by side, so that both know one schema:

    {"version": 1, "window": 1.0, "hop": 0.24, "unit": "word",
     "non_intents": ["unknown", "background"], "temperature": 1.0, "thresholds": {"up": 0.8},
     "gate": {…}, "rolling": {…}, "events": {…}, "measured": {…}}
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.messages import Unit
from daemon.model.description.fields import Fields, Scalar, read_json
from daemon.model.description.files import CONFIG, MAX_CONFIG_BYTES, inside
from daemon.model.description.labels import read_labels

VERSION = 1
KEY = "intentd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Content of the `intentd` key; the defaults hold for a model without one."""

    window: float | None = None
    """Seconds of a window, None where the model does not say."""
    hop: float | None = None
    """Seconds from window to window, None where the model does not say."""
    unit: Unit = "word"
    """"word": a label fits in one window; "utterance": windows of one utterance are evidence
    together."""
    non_intents: frozenset[str] = frozenset()
    """Labels that are no intents, such as unknown and background; they never fire."""
    temperature: float = 1.0
    """Logits are divided by it before the softmax (Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017)."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Label to the rolling value at which its event may begin, 0 to 1."""
    gate: Mapping[str, Scalar] = field(default_factory=dict)
    rolling: Mapping[str, Scalar] = field(default_factory=dict)
    events: Mapping[str, Scalar] = field(default_factory=dict)
    """Sections of config.toml for which the thresholds were chosen."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """How good it was and on what; free, for people and reports."""

    def to_dict(self) -> dict[str, Any]:
        """The table as it is written; what the model does not say is left out."""
        table: dict[str, Any] = {"version": VERSION}
        if self.window is not None:
            table["window"] = self.window
        if self.hop is not None:
            table["hop"] = self.hop
        return table | {
            "unit": self.unit,
            "non_intents": sorted(self.non_intents),
            "temperature": self.temperature,
            "thresholds": dict(self.thresholds),
            "gate": dict(self.gate),
            "rolling": dict(self.rolling),
            "events": dict(self.events),
            "measured": dict(self.measured),
        }

    def settings(self) -> dict[str, dict[str, Any]]:
        """Settings that the model supplies, `{section: {key: value}}`."""
        window = {"seconds": self.window, "hop": self.hop}
        sections: dict[str, dict[str, Any]] = {
            "window": {key: value for key, value in window.items() if value is not None},
            "gate": dict(self.gate),
            "rolling": dict(self.rolling),
            "events": dict(self.events),
        }
        if self.thresholds:
            sections["events"]["thresholds"] = dict(self.thresholds)
        return {section: table for section, table in sections.items() if table}


_KNOWN = frozenset(Calibration().to_dict()) | {"window", "hop"}


def read_calibration(config: Fields, labels: Sequence[str]) -> Calibration:
    """Read the `intentd` key of `config`; defaults if there is none.

    Raises:
        UserError: a value is not possible.
    """
    table = config.child(KEY)
    if not table.table:
        return Calibration()
    version = table.table.get("version", VERSION)
    if version != VERSION:
        raise UserError(
            f"{config.file}: {KEY}.version is {version!r:.40} and this intentd reads {VERSION}; "
            "bring intentd up to date, or train the model with this one"
        )
    for key in table.table:
        if key not in _KNOWN:
            raise table.refuse(key, f"absent ({KEY} has {', '.join(sorted(_KNOWN))})")
    unit: Unit = "word"
    if table.choice("unit", "word", ("word", "utterance")) == "utterance":
        unit = "utterance"
    non_intents = table.strings("non_intents", len(labels))
    thresholds = table.child("thresholds")
    for label in (*non_intents, *thresholds.table):
        if label not in labels:
            key = "non_intents" if label in non_intents else "thresholds"
            raise UserError(
                f"{config.file}: {KEY}.{key} names {label!r:.60}, which is no label of the model"
            )
    temperature = table.number("temperature", 1.0, 0.01, 100.0)
    assert temperature is not None
    window = table.number("window", None, 0.1, 30.0)
    hop = table.number("hop", None, 0.02, 30.0)
    if window is not None and hop is not None and hop > window:
        raise table.refuse("hop", f"at most the window, {window:g} s, or sound would go unheard")
    return Calibration(
        window=window,
        hop=hop,
        unit=unit,
        non_intents=frozenset(non_intents),
        temperature=temperature,
        thresholds=thresholds.numbers(0.0, 1.0),
        gate=table.child("gate", 100).scalars(),
        rolling=table.child("rolling", 100).scalars(),
        events=table.child("events", 100).scalars(),
        measured=dict(table.child("measured").table),
    )


def write_intentd_key(directory: Path, calibration: Calibration) -> None:
    """Write `calibration` into a saved model's config.json.

    The rest stays as it is.

    The file is replaced atomically.

    Raises:
        UserError: there is no config.json, or `calibration` does not fit it.
    """
    path = inside(directory, CONFIG)
    if path is None:
        raise UserError(f"{directory} has no {CONFIG}; save the model there first")
    config = read_json(path, MAX_CONFIG_BYTES) | {KEY: calibration.to_dict()}
    fields = Fields(path, config)
    read_calibration(fields, read_labels(fields))
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=directory, prefix=".config-", delete=False
    ) as file:
        file.write(text)
    Path(file.name).chmod(path.stat().st_mode & 0o777)
    Path(file.name).replace(path)
