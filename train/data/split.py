"""Assigns speakers to train, validation and test by hash.

The bucket of a clip is the SHA-1 of its group (speaker, or path where the speaker is unknown)
modulo the number of buckets. Adding data moves nobody from one part to another, and a group is
never in two parts. Every label is spread alike, since the hash knows nothing of labels;
`clips.check_parts` names labels that a part has no recording of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha1
from typing import Literal

from train.recipe import SplitSection

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of parts in the usual layouts of data sets, in lower case."""


def parts_by_name(names: Sequence[str]) -> dict[str, tuple[Part, ...]]:
    """The parts that recordings with these names of parts may be in.

    Names are those of `PART_NAMES`, in any case.

    Parts that no name stands for are drawn from those to train on.
    """
    there = {PART_NAMES[name.lower()] for name in names}
    lacking = tuple(part for part in PARTS if part not in there)
    own: dict[str, tuple[Part, ...]] = {}
    for name in names:
        part = PART_NAMES[name.lower()]
        own[name] = ("train", *lacking) if part == "train" else (part,)
    return own


def bucket(key: str, buckets: int) -> int:
    """The bucket of `key`, 0 to `buckets` - 1."""
    return int(sha1(key.encode("utf-8", "backslashreplace")).hexdigest(), 16) % buckets


def part_of(key: str, split: SplitSection) -> Part:
    """The part that the speaker (or path) `key` belongs to."""
    seeded = key if split.seed is None else f"{split.seed}/{key}"
    number = bucket(seeded, split.buckets)
    if split.fold is not None:
        if number == split.fold:
            return "test"
        return "validation" if bucket(f"validation/{seeded}", 10) == 0 else "train"
    if number in split.test:
        return "test"
    return "validation" if number in split.validation else "train"


def draw_stratified(labels: Sequence[str], split: SplitSection) -> list[Part]:
    """Parts of clips with these labels, stratified (`split.test_size`).

    By `datasets`' train_test_split.

    Raises:
        ValueError: a label is too rare to be in every part.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    if split.test_size is None:
        raise ValueError("split.test_size is not set")
    names = sorted(set(labels))
    table = Dataset.from_dict(
        {"row": list(range(len(labels))), "label": [names.index(label) for label in labels]},
        features=Features({"row": Value("int64"), "label": ClassLabel(names=names)}),
    )
    seed = 42 if split.seed is None else split.seed
    halves = table.train_test_split(split.test_size, seed=seed, stratify_by_column="label")
    rest = halves["train"].train_test_split(
        split.test_size / 2, seed=seed, stratify_by_column="label"
    )
    parts: list[Part] = ["train"] * len(labels)
    for row in halves["test"]["row"]:
        parts[row] = "test"
    for row in rest["test"]["row"]:
        parts[row] = "validation"
    return parts


def counts(labels: Sequence[str], parts: Sequence[Part]) -> dict[str, dict[str, int]]:
    """Clips of each label in each part."""
    number = Counter(zip(labels, parts, strict=True))
    return {label: {part: number[label, part] for part in PARTS} for label in sorted(set(labels))}
