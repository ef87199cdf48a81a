"""Counts repeated messages in place of repeating them."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

_FIGURES = re.compile(r"\d+(?:[.,:]\d+)*")
_MOST = 200
"""Kinds of message that are remembered."""


@dataclass(slots=True)
class _Kind:
    since: float
    shown: int = 0
    held: int = 0


class Repeats:
    """Admits `burst` messages of a kind every `period` seconds.

    The others are counted.

    Messages are of a kind if they differ in their figures only: "back after 1.2 s" is what was
    shown as "back after 0.9 s".
    """

    def __init__(self, burst: int = 20, period: float = 60.0) -> None:
        self._burst = burst
        self._period = period
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def admit(self, text: str, now: float) -> tuple[bool, int]:
        """Whether to show `text` at `now`, and how many of its kind were not."""
        key = _FIGURES.sub("#", text)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(now)
            if len(self._kinds) > _MOST:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(key)
        if now - kind.since >= self._period:
            held = kind.held
            self._kinds[key] = _Kind(now, shown=1)
            return True, held
        if kind.shown < self._burst:
            kind.shown += 1
            return True, 0
        kind.held += 1
        return False, 0

    def held(self) -> int:
        """Number of messages held back and not reported yet."""
        return sum(kind.held for kind in self._kinds.values())
