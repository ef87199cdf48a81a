"""Training recordings as clips in memory, with label and part of split.

Rows that cannot be used are listed with the reason, never dropped silently.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.base.text import screen_text
from daemon.base.text_files import write_text
from train.data.copies import keep_apart
from train.data.decoding import decode
from train.data.phonemes import spoken
from train.data.rows import Row
from train.data.sources import rows_of
from train.data.split import PARTS, Part, counts, draw_stratified, part_of
from train.recipe import WORLD, DataSection, DistilSection, Recipe

__all__ = [
    "RATE",
    "Clip",
    "Loaded",
    "Problem",
    "decode",
    "labels_of",
    "load_clips",
    "load_plain",
]

SHORTEST = 0.1
SILENCE = 1e-4
"""Peak below which a clip counts as silent (-80 dBFS)."""

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: 16-bit mono samples at 16 kHz, and what is known of it."""

    samples: Pcm
    label: str
    key: str
    """Speaker, or path where the speaker is unknown: what the split is drawn from."""
    path: str
    source: int
    """Index of the recipe's data section."""
    part: Part
    placing: str

    @property
    def audio(self) -> NDArray[np.float32]:
        """Samples as float32 in [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(32768)


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that was left out, and why."""

    source: str
    path: str
    reason: str
    fault: bool = True
    """False: it is no fault of the data (a hidden file, a copy)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """All usable clips of a recipe, and the rows that are not."""

    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]
    unknown_groups: dict[str, int]
    """Clips without a speaker by source: they are split clip by clip."""
    lost_labels: dict[str, int] = field(default_factory=dict)
    """Labels of which no recording can be used, with the number of their recordings."""
    notes: tuple[str, ...] = ()
    """Sentences about the sources that their user should read."""

    @property
    def faults(self) -> tuple[Problem, ...]:
        """The problems that are faults of the data."""
        return tuple(problem for problem in self.problems if problem.fault)

    def part(self, part: Part) -> list[Clip]:
        return [clip for clip in self.clips if clip.part == part]


def load_clips(recipe: Recipe) -> Loaded:
    """All clips of the recipe's sources, and the rows left out with reasons.

    Raises:
        UserError: a source is missing or holds nothing usable, or the labels are not the model's.
    """
    clips: list[Clip] = []
    problems: list[Problem] = []
    unknown: dict[str, int] = {}
    unusable: Counter[str] = Counter()
    notes: list[str] = []
    uneven: dict[str, list[str]] = {}
    """Paths of recordings with uneven channels, by source."""
    placed: set[int] = set()
    """id() of the clips whose folder says which part of the split they are in."""
    for number, section in enumerate(recipe.data):
        if section.optional and not recipe.path(section.path).exists():
            continue
        before = len(clips)
        for row in _rows(section, recipe, clips, notes.append):
            if section.only and row.recording and row.label not in section.only:
                continue
            try:
                clips.append(_clip(row, section, number, recipe, uneven))
            except ValueError as error:
                problems.append(Problem(section.path, row.path, str(error), row.recording))
                if label := _label(row, section):
                    unusable[label] += 1
                continue
            if row.parts != PARTS:
                placed.add(id(clips[-1]))
            if not row.group and section.holdout:
                unknown[section.path] = unknown.get(section.path, 0) + 1
        if section.per_label is not None:
            clips[before:] = _fewer(clips[before:], section.per_label)
        if len(clips) == before:
            raise _nothing_usable(section, problems)
    notes += [_about_uneven(source, paths) for source, paths in uneven.items()]
    if not clips:
        raise UserError("The recipe names no data: add a [[data]] section.")
    if recipe.distil is None:
        _check_labels(recipe, clips)
    clips = _drawn(recipe, clips, placed)
    clips = _without_copies(recipe, clips, placed, problems, notes)
    found = {clip.label for clip in clips}
    lost = {label: count for label, count in sorted(unusable.items()) if label not in found}
    return Loaded(tuple(clips), tuple(problems), unknown, lost, tuple(notes))


def _nothing_usable(section: DataSection, problems: Sequence[Problem]) -> UserError:
    reasons = {p.reason for p in problems if p.source == section.path}
    some = f" ({'; '.join(sorted(reasons)[:3])})" if reasons else ""
    return UserError(f"data source {section.path!r} holds no usable recording{some}.")


def _rows(
    section: DataSection, recipe: Recipe, clips: Sequence[Clip], note: Callable[[str], None]
) -> Iterator[Row]:
    """The rows of a source; of shipped recordings those without an intent."""
    if section.path != WORLD:
        yield from rows_of(section, recipe.path(section.path), note)
        return
    from train import world

    intents = [each for each in labels_of(recipe, clips) if each not in recipe.model.non_intents]
    pack = world.recordings()
    for number in world.without([spoken(intent.replace("_", " ")) for intent in intents]):
        if pack[number].kind != world.NOISE:
            yield Row(pack[number].data, pack[number].path, None, pack[number].speaker)


def load_plain(
    path: str, root: str = ".", note: Callable[[str], None] = lambda _: None
) -> list[Clip]:
    """The recordings of one source, whatever is said in them.

    `note` is called with a sentence about what was left out. Raises: UserError as `load_clips`.
    """
    source = DataSection(path=path, label="any", placing="crop", holdout=False)
    # A recipe that distils looks at no label.
    recipe = Recipe(name=path, root=root, data=(source,), distil=DistilSection())
    loaded = load_clips(recipe)
    if loaded.problems:
        first = loaded.problems[0]
        count = len(loaded.problems)
        note(f"{path}: {count} left out; the first, {screen_text(first.path)}, {first.reason}")
    return list(loaded.clips)


def labels_of(recipe: Recipe, clips: Sequence[Clip]) -> tuple[str, ...]:
    """The model's labels in order."""
    if recipe.model.labels:
        return recipe.model.labels
    return tuple(sorted({clip.label for clip in clips}))


def check_parts(recipe: Recipe, clips: Sequence[Clip]) -> list[str]:
    """Sentences about labels that a part has no clip of.

    Raises: UserError if training lacks one.
    """
    table = counts([clip.label for clip in clips], [clip.part for clip in clips])
    made = set()
    if recipe.augment.background_probability:
        made.add(recipe.augment.background_label)
    if recipe.augment.cut_probability or recipe.augment.splice_probability:
        made.add(recipe.augment.cut_label)
    said = []
    for label in labels_of(recipe, clips):
        row = table.get(label, dict.fromkeys(PARTS, 0))
        if not row["train"] and label not in made:
            raise UserError(f"The label {label!r} has no recording to train on; add some.")
        said += [
            f"no {part} recording of {label!r}"
            for part in ("validation", "test")
            if not row[part] and label not in made
        ]
    for part in ("train", "validation"):
        if not any(row[part] for row in table.values()):
            raise UserError(f"The split leaves no recording for {part}; add data.")
    return said


def write_split(path: Path, loaded: Loaded, recipe: Recipe) -> None:
    """Write the part of every clip, one JSON object a line."""
    lines = [
        {
            "source": recipe.data[clip.source].path,
            "path": clip.path,
            "label": clip.label,
            "group": None if clip.key == clip.path else clip.key,
            "part": clip.part,
        }
        for clip in loaded.clips
    ]
    _write_lines(path, lines)


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write what was left out and why, one JSON object a line."""
    _write_lines(path, [{"source": p.source, "path": p.path, "reason": p.reason} for p in problems])


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(path, text)


def _fewer(clips: Sequence[Clip], per_label: int) -> list[Clip]:
    """`clips` with at most `per_label` of a label to train on.

    A larger number holds a smaller.
    """
    order = sorted(
        clips, key=lambda clip: sha1(clip.path.encode("utf-8", "backslashreplace")).digest()
    )
    seen: Counter[str] = Counter()
    kept = set()
    for clip in order:
        if clip.part != "train" or seen[clip.label] < per_label:
            kept.add(id(clip))
            seen[clip.label] += clip.part == "train"
    return [clip for clip in clips if id(clip) in kept]


def _check_labels(recipe: Recipe, clips: list[Clip]) -> None:
    known = set(recipe.model.labels)
    strange = sorted({clip.label for clip in clips} - known) if known else []
    if strange:
        raise UserError(
            f"the data has labels {', '.join(strange)} that model.labels does not name; "
            "add them there or rename them in the data section."
        )
    if len(labels_of(recipe, clips)) < 2:
        raise UserError("The data has a single label; there is nothing to tell apart.")


def _drawn(recipe: Recipe, clips: list[Clip], placed: set[int]) -> list[Clip]:
    """`clips` with the parts that split.test_size draws, if it is set."""
    if recipe.split.test_size is None:
        return clips
    held = [
        n
        for n, clip in enumerate(clips)
        if recipe.data[clip.source].holdout and id(clip) not in placed
    ]
    if not held:
        return clips
    try:
        parts = draw_stratified([clips[n].label for n in held], recipe.split)
    except ValueError as error:
        raise UserError(f"split.test_size does not work for this data: {error}") from error
    made = list(clips)
    for n, part in zip(held, parts, strict=True):
        made[n] = replace(clips[n], part=part)
    return made


def _label(row: Row, section: DataSection) -> str | None:
    label = section.label or row.label
    if not label:
        return None
    return section.rename.get(label, section.rename.get("*", label))


def _without_copies(
    recipe: Recipe,
    clips: Sequence[Clip],
    placed: set[int],
    problems: list[Problem],
    notes: list[str],
) -> list[Clip]:
    """`clips` such that no recording is in two parts.

    What that leaves out goes to `problems`.
    """

    def rank(clip: Clip) -> int:
        """Precedence of a clip: one whose part is not drawn keeps it."""
        if id(clip) in placed:
            return PARTS[::-1].index(clip.part)
        return 2 if recipe.data[clip.source].holdout else 3

    found = keep_apart(clips, [rank(clip) for clip in clips])
    for clip, reason in found.dropped:
        problems.append(Problem(recipe.data[clip.source].path, clip.path, reason, False))
    if found.count:
        some = "recording is a copy" if found.count == 1 else "recordings are copies"
        left_out = (
            f"; {len(found.dropped)} left out, so that none is both trained and tested on"
            if found.dropped
            else ""
        )
        notes.append(f"{found.count} {some} of another by the samples{left_out}")
    if found.contradicting:
        notes.append(f"{found.contradicting} copies have another label than the original")
    return found.clips


def _part(row: Row, key: str, section: DataSection, recipe: Recipe) -> Part:
    if not section.holdout:
        return "train"
    drawn = part_of(key, recipe.split)
    # Cross-validation tests on everything in turn, whatever its folder is called.
    return drawn if drawn in row.parts or recipe.split.fold is not None else row.parts[0]


def _about_uneven(source: str, paths: Sequence[str]) -> str:
    some = "1 recording has" if len(paths) == 1 else f"{len(paths)} recordings have"
    return (
        f"{source}: {some} a channel that is silent or much louder than the others, so that "
        f"the mean is weaker or noisier than one of them alone; the first: {screen_text(paths[0])}"
    )


def _clip(
    row: Row, section: DataSection, number: int, recipe: Recipe, uneven: dict[str, list[str]]
) -> Clip:
    """The clip of a row, whose path is added to `uneven` if its channels are.

    Raises ValueError with the reason if the row cannot be used.
    """
    if row.fault is not None:
        raise ValueError(row.fault)
    label = _label(row, section)
    if label is None:
        raise ValueError("has no label")
    samples = decode(row.audio, lambda: uneven.setdefault(section.path, []).append(row.path))
    if row.start is not None or row.end is not None:
        first = round((row.start or 0.0) * RATE)
        last = len(samples) if row.end is None else round(row.end * RATE)
        samples = samples[first:last]
    if len(samples) < SHORTEST * RATE:
        raise ValueError(f"is too short ({len(samples) / RATE:.2f} s)")
    if not np.isfinite(samples).all():
        raise ValueError("holds samples that are not finite")
    if np.abs(samples).max() < SILENCE:
        raise ValueError("is silent")
    key = row.group or row.path
    part = _part(row, key, section, recipe)
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    placing = section.placing
    if placing == "auto":
        placing = "crop" if label in recipe.model.non_intents else "word"
    return Clip(pcm, label, key, row.path, number, part, placing)
