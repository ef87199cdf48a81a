"""Finds settings that have no effect with the loaded model."""

from __future__ import annotations

from daemon.base.text import escaped
from daemon.config import Loaded
from daemon.model.description.info import ModelInfo

_OTHER_UNIT = {
    "word": ("forgetting", "max_seconds"),
    "utterance": ("windows",),
}
"""Keys of [rolling] that a model of this unit has no use for."""


def without_effect(loaded: Loaded, model: ModelInfo) -> dict[str, str]:
    """Settings that change nothing with `model`: dotted key to a sentence.

    Of files, variables and options.
    """
    origins = loaded.origins
    reasons: dict[str, str] = {}
    thresholds = loaded.settings.events.thresholds
    intents = [label for label in model.labels if label not in model.non_intents]
    if intents and all(label in thresholds for label in intents):
        reasons["events.threshold"] = (
            "every intent has its own threshold; set events.thresholds, for example "
            f"events.thresholds.{escaped(intents[0])}"
        )
    for label in thresholds:
        if label in model.non_intents:
            name = escaped(label)
            reasons[f"events.thresholds.{label}"] = f"{name} is no intent and never an event"
    for label in loaded.settings.on.actions:
        if label in model.non_intents:
            reasons[f"on.{label}"] = f"{escaped(label)} is no intent and never an event"
    for key in _OTHER_UNIT[model.unit]:
        reasons[f"rolling.{key}"] = f"the model classifies {model.unit}s"
    return {
        key: f"{escaped(str(origins[key]))} sets {escaped(key)}, which changes nothing: {why}"
        for key, why in reasons.items()
        if key in origins and origins[key].kind not in {"default", "model"}
    }
