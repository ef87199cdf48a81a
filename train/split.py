"""Who is trained on, who is validated on, who is tested on: drawn by hash, so that it never moves.

The bucket of a clip is the SHA-1 of its speaker (or of its path, where the speaker is unknown)
modulo the number of buckets. Adding data moves nobody from one part to another, and a speaker is
never in two parts.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Literal

from train.recipe import SplitSection

Part = Literal["train", "validation", "test"]


def bucket(key: str, buckets: int) -> int:
    return int(sha1(key.encode()).hexdigest(), 16) % buckets


def part_of(key: str, split: SplitSection) -> Part:
    """The part that the speaker (or path) `key` belongs to."""
    number = bucket(key if split.seed is None else f"{split.seed}/{key}", split.buckets)
    if number in split.test:
        return "test"
    return "validation" if number in split.validation else "train"
