"""A recording before it is decoded, as every kind of source gives it."""

from __future__ import annotations

from dataclasses import dataclass

from train.data.split import PARTS, Part


@dataclass(frozen=True, slots=True)
class Row:
    """One recording before it is decoded.

    `start` and `end` in seconds cut a part out of it.
    """

    audio: bytes | str
    path: str
    """For people and for the split: valid Unicode, the same in every locale."""
    label: str | None
    group: str
    """Speaker or other group, "" if unknown."""
    start: float | None = None
    end: float | None = None
    fault: str | None = None
    """Why the row cannot be used, where that shows before decoding."""
    parts: tuple[Part, ...] = PARTS
    """Parts of the split that it may be in; the first where the split draws another."""
    recording: bool = True
    """False: no recording was expected here (a hidden file), so that `fault` is no fault of the
    data."""
