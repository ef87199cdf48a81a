"""Prompts of a recording session in order, and the effect of keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from train.words.folder import NEAR, ROOM, TALK

Kind = Literal["word", "near", "talk", "room"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to be recorded."""

    kind: Kind
    text: str
    """What is to be said."""
    label: str
    """Folder that it goes to."""
    seconds: float = 0.0
    """How long to record; 0: one take, as the speech detector finds it."""


def prompts(
    words: Sequence[str],
    takes: Mapping[str, int],
    near: Mapping[str, Sequence[str]],
    seed: int = 0,
    *,
    near_takes: int = 2,
    talk: float = 60.0,
    room: float = 20.0,
) -> list[Prompt]:
    """Rounds of all words in mixed order, then near-misses, talk, room.

    The talk is ordinary, the room is recorded while nobody speaks.

    `takes`: how many of each word are wanted now; `near`: words that sound alike, by word; `talk`
    and `room` in seconds, 0 for none.
    """
    rng = np.random.default_rng(seed)
    made: list[Prompt] = []
    last = ""
    for turn in range(max(takes.values(), default=0)):
        wanted = [word for word in words if takes[word] > turn]
        order = [wanted[n] for n in rng.permutation(len(wanted))]
        if len(order) > 1 and order[0] == last:
            order.append(order.pop(0))
        made += [Prompt("word", word.replace("_", " "), word) for word in order]
        last = order[-1]
    alike = [other for word in words for other in near.get(word, ())]
    for _ in range(near_takes):
        made += [Prompt("near", alike[n], NEAR) for n in rng.permutation(len(alike))]
    if talk > 0:
        made.append(Prompt("talk", "talk about your day, without the words", TALK, talk))
    if room > 0:
        made.append(Prompt("room", "be quiet, and let the room be heard", ROOM, room))
    return made


class Session:
    """State of a recording session.

    What was recorded is the caller's to keep: `keep` says which take it replaces.
    """

    def __init__(self, wanted: Sequence[Prompt]) -> None:
        self.prompts = list(wanted)
        self._done: dict[int, object] = {}
        self._skipped: set[int] = set()
        self._at = 0
        self._last: int | None = None

    @property
    def prompt(self) -> Prompt | None:
        """The present prompt; None at the end."""
        return self.prompts[self._at] if self._at < len(self.prompts) else None

    @property
    def progress(self) -> tuple[int, int]:
        """Recorded, and to be recorded altogether."""
        return len(self._done), len(self.prompts) - len(self._skipped - set(self._done))

    @property
    def last(self) -> object | None:
        """The last take."""
        return None if self._last is None else self._done.get(self._last)

    def before(self) -> object | None:
        """The earlier take of the present prompt, which the next one replaces."""
        return self._done.get(self._at)

    def keep(self, take: object) -> None:
        """The present prompt has been recorded; go on to the next that has not."""
        self._done[self._at] = take
        self._skipped.discard(self._at)
        self._last = self._at
        self._advance()

    def skip(self) -> None:
        """Go on without it."""
        if self._at < len(self.prompts):
            self._skipped.add(self._at)
            self._advance()

    def back(self) -> None:
        """To the prompt before, whose take is to be replaced."""
        self._at = max(0, self._at - 1)

    def again(self) -> None:
        """To the prompt that was recorded last, whose take is to be replaced."""
        if self._last is not None:
            self._at = self._last

    def done(self) -> None:
        """Leave the rest of this kind out."""
        prompt = self.prompt
        while prompt is not None and self.prompt is not None and self.prompt.kind == prompt.kind:
            self.skip()

    def _advance(self) -> None:
        settled = self._done.keys() | self._skipped
        self._at = next(
            (n for n in range(self._at + 1, len(self.prompts)) if n not in settled),
            len(self.prompts),
        )
