"""Recipes: TOML files that say what is trained, on what, and how.

A recipe is typed and checked as a whole before anything is loaded: an unknown key, a wrong type or
an impossible value is one sentence that names it. `--set section.key=value` replaces single values.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from daemon.errors import UserError

Range = tuple[float, float]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    base: str = "facebook/wav2vec2-base"
    """A hub id, a model directory, "bundled" (the encoder that ships), or "small" (see
    train/encoder.py) for random weights of a small Wav2Vec2."""
    unit: Literal["word", "utterance"] = "word"
    window: float = Field(1.0, gt=0, le=30)
    hop: float = Field(0.24, gt=0, le=30)
    non_intents: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """The labels in order; empty: the data's labels, sorted."""


class DataSection(Section):
    path: str
    """A parquet file, a folder with a subfolder a label, a folder of plain recordings (with
    `label`), a CSV or JSONL manifest, or a hub id."""
    config: str | None = None
    """Configuration of a hub data set, such as "en-US"."""
    split: str = "train"
    label_column: str = "label"
    speaker_column: str | None = "speaker"
    label: str | None = None
    """One label for the whole source, where it has no column for it."""
    rename: dict[str, str] = {}
    """Label in the data to label of the model; "*" stands for every label not named."""
    weight: float = Field(1.0, gt=0)
    """How often the source is drawn from, relative to its number of clips."""
    placing: Literal["word", "crop", "auto"] = "auto"
    """word: the word lies somewhere in the window, whole; crop: any window of the recording;
    auto: word for intents, crop for non-intents."""
    holdout: bool = True
    """False: the source has no validation or test part and is trained on whole."""
    exclude: tuple[str, ...] = ()
    """File names (without folder) that are left out."""


class SplitSection(Section):
    seed: int | None = None
    """None: splits are drawn from the hash of speaker or path, so adding data moves nobody."""
    test: tuple[int, ...] = (0,)
    validation: tuple[int, ...] = (1,)
    buckets: int = 10


class AugmentSection(Section):
    noise: str | None = None
    """Folder of noise recordings; None: no noise is mixed in."""
    noise_exclude: tuple[str, ...] = ()
    noise_probability: Probability = 0.75
    snr_db: Range = (3.0, 30.0)
    gain_db: Range = (0.0, 0.0)
    speed: Range = (1.0, 1.0)
    floor_db: Range = (-100.0, -66.0)
    """White noise floor of windows that no recorded noise is mixed into, dBFS."""
    cut_probability: Probability = 0.0
    """Share of draws in which a word is cut to at most half and becomes `cut_label`."""
    cut_label: str = "unknown"
    background_probability: Probability = 0.0
    """Share of draws that are noise alone, labelled `background_label`."""
    background_label: str = "background"
    neighbour_probability: Probability = 0.0
    """Share of word windows whose free room is filled with other people's speech."""
    mask_time_prob: Probability = 0.05
    mask_time_length: int = 5
    mask_feature_prob: Probability = 0.0
    mask_feature_length: int = 10


class TrainSection(Section):
    steps: int = Field(0, ge=0)
    """Optimizer steps; 0: as many as `epochs` take."""
    epochs: float = Field(10, gt=0)
    batch_size: int = Field(32, ge=1)
    gradient_accumulation: int = Field(1, ge=1)
    learning_rate: float = Field(3e-5, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    weight_decay: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    average: float = Field(0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, which is what is saved; 0: off."""
    eval_every: int = Field(0, ge=0)
    """Steps between evaluations and checkpoints; 0: each epoch."""
    seed: int = 0
    threads: int = Field(0, ge=0)
    """Threads of the processor; 0: all cores."""


class Recipe(Section):
    """A whole recipe. `root` is the folder that relative paths of data begin at."""

    name: str
    root: str = "."
    description: str = ""
    model: ModelSection = ModelSection()
    data: tuple[DataSection, ...]
    split: SplitSection = SplitSection()
    augment: AugmentSection = AugmentSection()
    train: TrainSection = TrainSection()

    @model_validator(mode="after")
    def _labels_fit(self) -> Recipe:
        unknown = set(self.model.non_intents) - set(self.model.labels)
        if self.model.labels and unknown:
            raise ValueError(f"model.non_intents names {sorted(unknown)}, not in model.labels")
        return self

    def path(self, value: str) -> Path:
        """A path of the recipe, relative ones from `root`."""
        return Path(self.root).expanduser() / value


def find_recipe(name: str) -> Path:
    """The recipe file itself, or a shipped recipe by bare name ("commands")."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = files("train") / "recipes" / (name if name.endswith(".toml") else f"{name}.toml")
    if path.name == name and shipped.is_file():
        return Path(str(shipped))
    known = sorted(p.name[:-5] for p in (files("train") / "recipes").iterdir())
    raise UserError(f"No recipe {name!r}: give a TOML file or one of {', '.join(known)}.")


def load_recipe(name: str, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe `name`, with `section.key=value` assignments (values in TOML, or bare text).

    Raises UserError with the file and the key if anything in it is wrong.
    """
    path = find_recipe(name)
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error
    tree.setdefault("name", path.stem)
    for assignment in assignments:
        _assign(tree, assignment)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise UserError(f"{path}: {where}: {first['msg']}.") from error


def _assign(tree: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key:
        raise UserError(f"--set {assignment!r} is not of the form section.key=value.")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    node: Any = tree
    for parent in parents:
        if isinstance(node, list):
            if not parent.isdigit() or int(parent) >= len(node):
                raise UserError(f"--set {assignment!r}: there is no entry {parent!r}.")
            node = node[int(parent)]
        else:
            node = node.setdefault(parent, {})
    if not isinstance(node, dict):
        raise UserError(f"--set {assignment!r}: {'.'.join(parents)} is not a section.")
    node[last] = value
