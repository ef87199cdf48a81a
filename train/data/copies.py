"""Finds repeated recordings, and keeps each in one part of the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.data.clips import Clip


@dataclass(frozen=True, slots=True)
class Copies:
    """Result of `keep_apart`."""

    clips: list[Clip]
    """Those that are used."""
    dropped: list[tuple[Clip, str]]
    """Those that are left out, with the reason."""
    count: int
    """Clips that are a copy of another, used or not."""
    contradicting: int
    """Those of them that have another label than the original."""


def keep_apart(clips: Sequence[Clip], ranks: Sequence[int]) -> Copies:
    """Clips such that no two with the same samples are in different parts.

    Of several with the same samples the original is the one with the lowest rank, and among those
    the one with the shortest path (copies are called "x (1)" or "Copy of x"). It stays where it is.
    A copy that the split drew another part for is left out; one in the same part counts once more,
    in the original's group if its own speaker is unknown.
    """
    groups: dict[bytes, list[int]] = {}
    for number, clip in enumerate(clips):
        groups.setdefault(blake2b(clip.samples.tobytes(), digest_size=16).digest(), []).append(
            number
        )
    kept: list[Clip | None] = list(clips)
    dropped: list[tuple[Clip, str]] = []
    count = contradicting = 0
    for members in groups.values():
        if len(members) == 1:
            continue
        first = min(members, key=lambda n: (ranks[n], len(clips[n].path), clips[n].path, n))
        original = clips[first]
        for number in members:
            copy = clips[number]
            if number == first:
                continue
            count += 1
            contradicting += copy.label != original.label
            if copy.part != original.part:
                reason = f"is a copy of {original.path}, which is in the {original.part} part"
                dropped.append((copy, reason))
                kept[number] = None
            elif copy.key == copy.path:
                kept[number] = replace(copy, key=original.key)
    return Copies([clip for clip in kept if clip is not None], dropped, count, contradicting)
