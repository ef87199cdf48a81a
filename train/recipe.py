"""Recipes: what is trained, on what, and how, as sections of TOML.

The sections are typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from daemon.base.text import local_path
from daemon.config.settings import (
    HOP_SECONDS,
    WINDOW_SECONDS,
    EventSettings,
    GateSettings,
    RollingSettings,
)
from daemon.messages import Unit

WORLD = "train/world"
"""Path by which a data section names the recordings that ship."""
Range = tuple[float, float]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    base: str = "bundled"
    """A hub id, a model directory, "bundled" (the command model that ships), "words" (the encoder
    of spoken words that ships, train/encoders/words), or "small" (see
    train/training/small_encoder.py) for random weights of a small Wav2Vec2."""
    unit: Unit = "word"
    window: float = Field(default=WINDOW_SECONDS, gt=0, le=30)
    hop: float = Field(default=HOP_SECONDS, gt=0, le=30)
    non_intents: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """The labels in order; empty: the data's labels, sorted."""
    windows: Literal["all", "first"] = "all"
    """Of an utterance: all windows with speech in them, or the first alone (what truncation to one
    window does, for comparison)."""
    license: str = "other"
    """Identifier for the model card."""


class DataSection(Section):
    path: str
    """A parquet file, a folder with a subfolder a label (also below train/, test/ and validation/),
    a folder of plain recordings (with `label`), a CSV, TSV or JSONL manifest, or "hub:owner/name";
    "owner/name" alone is looked for on the hub if there is no folder `owner`."""
    config: str | None = None
    """Configuration of a hub data set, such as "en-US"."""
    split: str = "train"
    label_column: str = "label"
    speaker_column: str | None = "speaker"
    label: str | None = None
    """One label for the whole source, where it has no column for it."""
    rename: dict[str, str] = {}
    """Label in the data to label of the model; "*" stands for every label not named."""
    optional: bool = False
    """Leave the source out if it does not exist."""
    weight: float = Field(default=1.0, gt=0)
    """How often the source is drawn from, relative to its number of clips."""
    placing: Literal["word", "crop", "auto"] = "auto"
    """word: the word lies somewhere in the window, whole; crop: any window of the recording;
    auto: word for intents, crop for non-intents."""
    holdout: bool = True
    """False: the source has no validation or test part and is trained on whole."""
    exclude: tuple[str, ...] = ()
    """File names (without folder) that are left out."""
    only: tuple[str, ...] = ()
    """Labels in the data (before `rename`) that are used; none named: all."""
    per_label: int | None = Field(default=None, ge=1)
    """At most so many clips of each label to train on, the first by the hash of their path;
    validation and test keep theirs."""
    attribution: str = ""
    """Name, author and licence of the data, for the model card."""


class SplitSection(Section):
    seed: int | None = None
    """None: splits are drawn from the hash of speaker or path alone, so that parts are the same
    in every recipe; a number: another draw of the same kind."""
    test: tuple[int, ...] = (0,)
    validation: tuple[int, ...] = (1,)
    buckets: int = Field(default=10, ge=2)
    fold: int | None = Field(default=None, ge=0)
    """Cross-validation: bucket `fold` is the test part, whatever `test` says, and a tenth of the
    rest (by another hash) validates."""
    test_size: float | None = Field(default=None, gt=0, lt=1)
    """Instead of buckets: train_test_split of the `datasets` library, stratified by label, with
    `seed` (42 if None); half as much again validates. Groups may be torn apart, and adding data
    moves clips across: only for data sets that are finished and know no speakers."""

    @model_validator(mode="after")
    def _in_range(self) -> SplitSection:
        buckets = (*self.test, *self.validation, *(() if self.fold is None else (self.fold,)))
        if any(not 0 <= number < self.buckets for number in buckets):
            raise ValueError(f"bucket numbers must lie between 0 and {self.buckets - 1}")
        if set(self.test) & set(self.validation):
            raise ValueError("test and validation share a bucket")
        return self


class AugmentSection(Section):
    noise: str | None = None
    """Folder of noise recordings; None: no noise is mixed in."""
    attribution: str = ""
    """Name, author and licence of the noise, for the model card."""
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
    overhang: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of a word that may lie beyond an edge of its window: in a stream, words do."""
    splice_probability: Probability = 0.0
    """Share of draws in which the beginning of a word is followed by the end of another, which is
    no word and `cut_label`."""
    neighbour_probability: Probability = 0.0
    """Share of draws of a word in which another word comes right before or after it, as in a
    stream without pauses. The label stays that of the last word that lies whole in the window."""
    neighbour_gap: Range = (0.03, 0.4)
    """Seconds between the two words."""
    background_probability: Probability = 0.0
    """Share of draws that are noise alone, labelled `background_label`."""
    background_label: str = "background"
    isolate_probability: Probability = 0.0
    """Share of draws from running speech (placing = "crop") that are a short piece alone in
    silence, so that a word by itself is not taken for an intent because it stands alone."""
    equalize_db: float = Field(default=0.0, ge=0, le=40)
    """Other microphones: gains of five bands are drawn within so many decibels up or down."""
    telephone_probability: Probability = 0.0
    """Share of windows that pass a telephone's band (300 to 3,400 Hz), pitch as it is."""
    mu_law_probability: Probability = 0.0
    """Share of those that pass its codec too: 8 kHz, eight bits of µ-law (G.711)."""
    codec_probability: Probability = 0.0
    """Share of recordings that are heard as Opus, Vorbis or MP3 leave them, at random bit rates:
    which codec a recording was kept in must not give its label away."""
    babble_probability: Probability = 0.0
    """Share of windows with other people talking behind: recordings of running speech (placing =
    "crop") that are trained on, four at a time."""
    babble_db: Range = (10.0, 30.0)
    """Speech over babble, decibels."""
    room_probability: Probability = 0.0
    """Share of windows that are convolved with a synthetic room."""
    room_seconds: Range = (0.15, 0.6)
    """Reverberation time (60 dB) of those rooms."""
    room_direct_db: Range = (0.0, 12.0)
    """Energy of the direct sound over that of the reverberation."""
    mask_time_prob: Probability = 0.05
    mask_time_length: int = 5
    mask_feature_prob: Probability = 0.0
    mask_feature_length: int = 10


class TrainSection(Section):
    steps: int = Field(default=0, ge=0)
    """Optimizer steps; 0: as many as `epochs` take."""
    epochs: float = Field(default=10, gt=0)
    batch_size: int = Field(default=32, ge=1)
    """Windows a step (unit "word") or utterances a step (unit "utterance"), each device."""
    bag_windows: int = Field(default=0, ge=0)
    """At most so many windows of an utterance a step, drawn at random; 0: all of them."""
    gradient_accumulation: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of each layer relative to the one above it; 1: the same for all."""
    freeze_features: bool = False
    """Keep the convolutional feature encoder as it is."""
    freeze_encoder_steps: int = Field(default=0, ge=0)
    """Steps at the start in which only the head learns."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, which is what is saved; 0: off."""
    eval_every: int = Field(default=0, ge=0)
    """Steps between evaluations and checkpoints; 0: each epoch."""
    seed: int = 0
    threads: int = Field(default=0, ge=0)
    """Threads of the processor; 0: all cores."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on a GPU that has it, and in pretraining on a processor with AMX; else fp32."""
    push_to_hub: str | None = None
    """Hub id that the finished model is pushed to."""


class TeacherSection(Section):
    """A teacher of words, and which windows it hears."""

    teacher: str = "efficientword-net"
    """See train/distillation/word_embedding.py: "efficientword-net", or an ONNX file of the same
    interface."""
    cache: str | None = None
    """Folder for the teacher's vectors, which many runs can share; None: the user's cache."""
    windows_per_second: float = Field(default=1.3, gt=0)
    """Windows for the teacher in each second of a recording."""
    windows_per_clip: int = Field(default=3, ge=1)
    """At least so many of each recording."""


class DistilSection(TeacherSection):
    """Pretraining of an encoder on a larger one's vectors, without labels.

    They are vectors of words.
    """

    lengths: Annotated[tuple[Annotated[float, Field(ge=0.5, le=5)], ...], Field(min_length=1)] = (
        1.0,
        1.0,
        1.0,
        1.5,
        2.0,
    )
    """Seconds of the student's windows, drawn evenly for each batch; the teacher always takes the
    1.5 s in the middle."""


class TeachSection(TeacherSection):
    """A teacher in finetuning: soft labels and vectors as targets.

    A layer on its vectors gives the soft labels (train/distillation/soft_labels.py).
    """

    windows_per_second: float = Field(default=2.5, gt=0)
    windows_per_clip: int = Field(default=4, ge=1)
    epochs: float = Field(default=20.0, gt=0)
    """Of that layer, over the clips to train on."""
    weight: Probability = 0.7
    """Share of the soft label in the loss."""
    temperature: float = Field(default=2.0, gt=0)
    """Soft label and output are softened by it before they are compared."""
    cosine: float = Field(default=1.0, ge=0)
    """Weight of one minus the cosine between the teacher's vector and what two layers make of the
    mean of the model's frames."""


class CalibrateSection(Section):
    """Choice of temperature and thresholds, on the validation part."""

    false_alarms_per_hour: float = Field(default=1.0, gt=0)
    """Upper 95 % bound of the false alarms an hour of all intents together on command-free audio:
    talk and noise, or, where the recipe has no talk, single other words. Where it has, an event on
    a single other word costs as much as a miss."""
    free: tuple[str, ...] = ()
    """Command-free recordings that nothing is trained on, as in [[data]]: hours to count false
    alarms in."""
    cross_fit: int = Field(default=0, ge=0)
    """Into so many parts the training clips are divided, each to be heard by a model that was
    trained without it, so that they count here as well; 0: the validation part alone counts. One
    more training for each part."""
    per_label: int = Field(default=40, ge=1)
    """Clips of each intent in a validation stream."""
    spacing: float = Field(default=2.5, gt=0)
    snr_db: tuple[float, ...] = (20.0, 10.0)
    """One validation stream with noise for each, beside one without."""
    threshold: Range = (0.3, 0.99)
    """Least and greatest threshold that may be chosen."""
    rolling_windows: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Values of rolling.windows to choose from; none: the recipe's own."""

    @field_validator("cross_fit")
    @classmethod
    def _two_parts(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one part would leave nothing to train on; give 2 or more")
        return value

    @model_validator(mode="after")
    def _limits_in_order(self) -> CalibrateSection:
        if not 0 < self.threshold[0] < self.threshold[1] < 1:
            raise ValueError("threshold must be two values between 0 and 1, in order")
        return self


class EvaluateSection(Section):
    noise: str | None = None
    """A recording that the model was never trained with; None: `augment.noise`."""
    snr_db: tuple[float, ...] = (24.0, 18.0, 12.0, 6.0)
    per_label: int = Field(default=40, ge=1)
    spacing: float = Field(default=2.5, gt=0)


class Recipe(Section):
    """A whole recipe; `root` is the folder for relative paths of data."""

    name: str
    root: str = "."
    description: str = ""
    problems: Literal["skip", "fatal"] = "skip"
    """Rows that cannot be used: listed and left out, or listed and the end of the run."""
    model: ModelSection = ModelSection()
    data: tuple[DataSection, ...]
    world: bool = True
    """A recipe with labels that are no intents also trains on the talk and noise that ship in
    train/world, but for sentences that hold one of its words; false leaves them out."""
    split: SplitSection = SplitSection()
    augment: AugmentSection = AugmentSection()
    train: TrainSection = TrainSection()
    distil: DistilSection | None = None
    """With it the recipe makes an encoder to finetune from, and no classifier."""
    teach: TeachSection | None = None
    """With it a classifier of words also learns from a teacher."""
    gate: GateSettings = GateSettings()
    """This and the next two: what the daemon runs the model with, as in config.toml."""
    rolling: RollingSettings = RollingSettings()
    events: EventSettings = EventSettings()
    calibrate: CalibrateSection = CalibrateSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _teach_fits(self) -> Recipe:
        if self.teach is not None and (self.distil is not None or self.model.unit != "word"):
            raise ValueError('[teach] goes with model.unit = "word" and without [distil]')
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> Recipe:
        unknown = set(self.model.non_intents) - set(self.model.labels)
        if self.model.labels and unknown:
            raise ValueError(f"model.non_intents names {sorted(unknown)}, not in model.labels")
        return self

    def path(self, value: str) -> Path:
        """A path of the recipe, relative ones from `root`."""
        return local_path(self.root).expanduser() / local_path(value).expanduser()
