"""`intentd-train record`: from prompts and sound to takes in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.output.dashboard.keys import Keyboard
from train.augment import rms
from train.data.decoding import decode
from train.recorder.checks import decibels, faults
from train.recorder.finder import Audio, Found, TakeFinder
from train.recorder.session import Prompt, Session
from train.recorder.shelf import Shelf
from train.recorder.sound import Block, Sound, play
from train.recorder.view import Picture, View

SPEECH_IN_ROOM = 0.1
"""Share of speech at which the room is recorded again."""
REFRESH = 0.05
PHRASE_SECONDS = 2.5


@dataclass(slots=True)
class Recorder:
    """One recording session."""

    session: Session
    shelf: Shelf
    sound: Sound
    view: View
    keyboard: Keyboard
    finder: TakeFinder
    longest: float = PHRASE_SECONDS
    """Seconds of a take."""
    _long: list[Audio] = field(default_factory=list)
    """What has come of a prompt that has a length."""
    _spoken: int = 0
    _drawn: float = 0.0

    def run(self) -> None:
        """Until all is recorded, the sound ends, or the user is done.

        Raises UserError if the device fails for good or a take cannot be written.
        """
        with self.view:
            for block in self.sound.blocks():
                if self.session.prompt is None:
                    return
                self._hear(block)
                self._keys()
            for found in self.finder.flush():
                self._judge(found)

    def _hear(self, block: Block) -> None:
        if block.note:
            self.view.say(block.note, good=False)
        if block.lost:
            self._begin_anew()
        prompt = self.session.prompt
        assert prompt is not None
        taken = list(self.finder.feed(block.samples))
        if prompt.seconds:
            self._long_block(prompt, block.samples)
        else:
            for found in taken:
                self._judge(found)
        self._show(block.samples)

    def _judge(self, found: Found) -> None:
        prompt = self.session.prompt
        if prompt is None or prompt.seconds:
            return
        others = []
        if prompt.kind == "word":
            others = [_speech_of(path) for path in self.shelf.takes(prompt.label)[-8:]]
        wrong = faults(found, self.finder.noise_floor, others, self.longest)
        if wrong:
            self.view.say(f'"{prompt.text}" again, please: {wrong[0].sentence}', good=False)
            return
        self._keep(prompt, found.samples)

    def _keep(self, prompt: Prompt, samples: Audio) -> None:
        before = self.session.before()
        if isinstance(before, Path):
            self.shelf.remove(before)
        name = prompt.text.replace(" ", "-") if prompt.kind == "near" else ""
        text = "" if prompt.kind == "word" else prompt.text
        path = self.shelf.add(prompt.label, samples, _today(), text, name)
        self.session.keep(path)
        self.view.say(f'"{prompt.text}" is kept ({path.name})', good=True)

    def _long_block(self, prompt: Prompt, samples: Audio) -> None:
        self._long.append(samples)
        self._spoken += len(samples) if self.finder.speaking else 0
        total = sum(map(len, self._long))
        if total < prompt.seconds * RATE:
            return
        whole = np.concatenate(self._long)
        spoken = self._spoken / total
        self._begin_anew()
        if prompt.kind == "room" and spoken > SPEECH_IN_ROOM:
            self.view.say("somebody spoke; the room is recorded once more", good=False)
        elif prompt.kind == "talk" and spoken < SPEECH_IN_ROOM:
            self.view.say("hardly anything was said; please talk once more", good=False)
        else:
            self._keep(prompt, whole)

    def _keys(self) -> None:
        for key in self.keyboard.wait(0):
            if key == "b":
                self.session.back()
            elif key == "a":
                self.session.again()
            elif key == "s":
                self.session.skip()
            elif key in ("d", "q"):
                self.session.done()
            elif key == "p":
                self._play()
            else:
                continue
            self._begin_anew()

    def _play(self) -> None:
        path = self.session.last
        if not isinstance(path, Path):
            self.view.say("there is no take to be played yet", good=False)
            return
        try:
            play(decode(str(path)))
        except (UserError, ValueError) as error:
            self.view.say(str(error), good=False)
        self.sound.forget()

    def _begin_anew(self) -> None:
        self.finder.restart()
        self._long, self._spoken = [], 0

    def _show(self, samples: Audio) -> None:
        prompt = self.session.prompt
        now = time.monotonic()
        if prompt is None or not len(samples) or now - self._drawn < REFRESH:
            return
        self._drawn = now
        done, wanted = self.session.progress
        left = prompt.seconds - sum(map(len, self._long)) / RATE if prompt.seconds else 0.0
        self.view.show(
            Picture(
                prompt,
                done,
                wanted,
                decibels(rms(samples)),
                decibels(float(np.abs(samples).max())),
                self.finder.speaking,
                max(0.0, left),
                self.sound.device,
                str(self.shelf.folder),
            )
        )


def cut(
    sound: Sound,
    words: Sequence[str],
    shelf: Shelf,
    finder: TakeFinder,
    say: Callable[[str, bool], None],
    longest: float = PHRASE_SECONDS,
) -> tuple[int, int]:
    """Cut a recording of words, said in this order over and over, into takes.

    Returns how many were kept and how many not. A take that is refused counts as said.
    """
    kept = refused = 0

    def judge(found: Found) -> None:
        nonlocal kept, refused
        word = words[(kept + refused) % len(words)]
        wrong = faults(found, finder.noise_floor, longest=longest)
        at = f"{found.start / RATE:.1f} s"
        if wrong:
            refused += 1
            say(f"{at}: {word} is left out: {wrong[0].sentence}", False)
            return
        kept += 1
        path = shelf.add(word, found.samples, _today())
        say(f"{at}: {word} ({path.name})", True)

    for block in sound.blocks():
        for found in finder.feed(block.samples):
            judge(found)
    for found in finder.flush():
        judge(found)
    return kept, refused


def _speech_of(path: Path) -> Audio:
    from train.augment import word_bounds

    samples = decode(str(path))
    start, end = word_bounds(samples)
    return samples[start:end]


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
