"""Description of a model, read from its two JSON files without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.messages import Unit
from daemon.model.description.architecture import (
    Architecture,
    check_working_memory,
    read_architecture,
)
from daemon.model.description.calibration import (
    KEY,
    Calibration,
    read_calibration,
    write_intentd_key,
)
from daemon.model.description.extractor import Extractor, read_extractor
from daemon.model.description.fields import Fields, read_json
from daemon.model.description.files import (
    CONFIG,
    MAX_CONFIG_BYTES,
    MAX_PREPROCESSOR_BYTES,
    PREPROCESSOR,
    inside,
)
from daemon.model.description.labels import read_labels

__all__ = ["Calibration", "ModelInfo", "read_model_info", "write_intentd_key"]

DEFAULT_WINDOW = 1.0

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model directory, described."""

    directory: Path
    labels: tuple[str, ...]
    """In the order of the scores."""
    architecture: Architecture
    extractor: Extractor
    calibration: Calibration
    activation: Activation
    """What makes probabilities of logits: sigmoid for a multi-label model, as transformers does."""
    calibrated: bool
    """Whether config.json has an `intentd` key."""
    rate: int = RATE
    """Samples a second of its input."""

    @property
    def model_type(self) -> str:
        return self.architecture.model_type

    @property
    def window(self) -> float | None:
        """Seconds; None where the model does not say."""
        return self.calibration.window

    @property
    def hop(self) -> float | None:
        """Seconds; None where the model does not say."""
        return self.calibration.hop

    @property
    def unit(self) -> Unit:
        return self.calibration.unit

    @property
    def non_intents(self) -> frozenset[str]:
        return self.calibration.non_intents

    @property
    def temperature(self) -> float:
        return self.calibration.temperature

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Event thresholds by label; labels may be missing."""
        return self.calibration.thresholds

    @property
    def measured(self) -> Mapping[str, Any]:
        return self.calibration.measured

    def settings(self) -> dict[str, dict[str, Any]]:
        """Settings that the model supplies, `{section: {key: value}}`."""
        return self.calibration.settings()

    def window_samples(self, seconds: float | None = None) -> int:
        """Samples of a window of `seconds`; None: of the model's, else of 1 s.

        Raises:
            UserError: the network can't take a window of that length.
        """
        if seconds is None:
            seconds = self.window if self.window is not None else DEFAULT_WINDOW
        samples = round(seconds * self.rate)
        shortest, longest = self.architecture.shortest, self.extractor.longest
        if samples < shortest:
            raise UserError(
                f"a window of {seconds:g} s is too short for the model {self.directory}, which "
                f"needs {shortest / self.rate:.3g} s; raise window.seconds"
            )
        if longest is not None and samples > longest:
            raise UserError(
                f"a window of {seconds:g} s is too long for the model {self.directory}, which "
                f"hears {longest / self.rate:.4g} s; lower window.seconds"
            )
        check_working_memory(Fields(self.directory / CONFIG, {}), self.architecture, samples)
        return samples


def read_model_info(directory: str | Path) -> ModelInfo:
    """Read a model's config.json and preprocessor_config.json.

    Nothing is allocated by what they say; neither torch nor transformers is imported.

    Raises:
        UserError: it is no model directory, a file is damaged, something in it has a value it
            can't have, or the network is larger than intentd loads.
    """
    home = Path(directory)
    if not home.is_dir():
        hint = f"; give its directory, {home.parent}" if home.is_file() else ""
        raise UserError(f"{home} is not a model directory{hint}")
    path = inside(home, CONFIG)
    if path is None:
        raise UserError(
            f"{home} is not a model directory, it has no {CONFIG}; "
            "give the directory that training or save_pretrained wrote"
        )
    config = Fields(path, read_json(path, MAX_CONFIG_BYTES))
    if config.has("auto_map"):
        raise UserError(
            f"{path} wants code from its author to be run (auto_map), which intentd never does; "
            "use a model of transformers' own architectures"
        )
    labels = read_labels(config)
    architecture = read_architecture(config, len(labels))
    beside = inside(home, PREPROCESSOR)
    if beside is None:
        raise UserError(
            f"{home} has no {PREPROCESSOR}, which says how the model wants its sound; "
            "save the feature extractor beside the model"
        )
    preprocessor = Fields(beside, read_json(beside, MAX_PREPROCESSOR_BYTES))
    calibration = read_calibration(config, labels)
    info = ModelInfo(
        directory=home,
        labels=labels,
        architecture=architecture,
        extractor=read_extractor(preprocessor, config, architecture.model_type),
        calibration=calibration,
        activation=_activation(config, calibration.unit),
        calibrated=config.has(KEY),
    )
    if calibration.window is not None:
        info.window_samples()
    return info


def _activation(config: Fields, unit: Unit) -> Activation:
    problem = config.choice(
        "problem_type",
        "single_label_classification",
        ("single_label_classification", "multi_label_classification"),
    )
    if problem == "single_label_classification":
        return "softmax"
    if unit == "utterance":
        raise UserError(
            f'{config.file}: {KEY}.unit is "utterance", whose labels exclude each other, and '
            'problem_type is "multi_label_classification", whose labels don\'t; change one'
        )
    return "sigmoid"
