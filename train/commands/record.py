"""`intentd-train record` and `intentd-train teach`."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.base.errors import UserError
from daemon.base.options import Debug
from daemon.base.program import debugging
from train.commands.words import Alarms, Language, Output, output_of

KEYS = {
    **{name.encode(): name for name in "bapsdq"},
    **{name.upper().encode(): name for name in "bapsdq"},
    b"\x03": "d",
}
PHRASE, SENTENCE = 2.5, 12.0
"""Seconds that a take may have."""

Words = Annotated[list[str], typer.Argument(help="The words, or phrases in quotes.")]
Folder = Annotated[
    Path, typer.Option("--folder", help="Where takes are kept; what is there is added to.")
]
Takes = Annotated[
    int, typer.Option(min=1, help="Takes of each word, those included that are there already.")
]
Name = Annotated[str | None, typer.Option(help="Who speaks; your login name if not given.")]
Device = Annotated[str | None, typer.Option(help="The microphone: part of its name, or its index.")]
Lines = Annotated[bool, typer.Option("--lines", help="Plain lines in place of the screen.")]
Near = Annotated[
    int, typer.Option(min=0, help="Words that sound alike to be said beside each word; 0: none.")
]
Talk = Annotated[float, typer.Option(min=0, help="Seconds of ordinary talk; 0: none.")]
Room = Annotated[float, typer.Option(min=0, help="Seconds of the room in quiet; 0: none.")]


@dataclass(frozen=True, slots=True)
class Wish:
    """Request for a recording session."""

    words: Sequence[str]
    folder: Path
    takes: int = 10
    name: str | None = None
    device: str | None = None
    lines: bool = False
    near: int = 3
    talk: float = 60.0
    room: float = 20.0
    longest: float = PHRASE


def record(
    words: Words,
    folder: Folder = Path("words"),
    takes: Takes = 10,
    name: Name = None,
    device: Device = None,
    lines: Lines = False,
    near: Near = 3,
    talk: Talk = 60.0,
    room: Room = 20.0,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Cut this recording, in which the words are said over and over, in turn."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Record takes of your words, found by the speech detector.

    Nothing leaves the machine.
    """
    if source is not None:
        cut_recording(words, folder, name, source)
        return
    record_words(Wish(words, folder, takes, name, device, lines, near, talk, room))


def teach(
    words: Words,
    folder: Folder = Path("words"),
    output: Output = None,
    takes: Takes = 10,
    name: Name = None,
    device: Device = None,
    lines: Lines = False,
    near: Near = 3,
    talk: Talk = 60.0,
    room: Room = 20.0,
    language: Language = "en-us",
    alarms: Alarms = 0.5,
    debug: Debug = False,
) -> None:
    """Record your words, train on them, and listen with the new model.

    It listens on the dashboard.
    """
    from daemon.commands.live import run
    from daemon.config import Option, Sources
    from train.words.run import Request, check_output, train_words
    from train.words.settings import Settings

    target = output or output_of(folder)
    check_output(target)
    record_words(Wish(words, folder, takes, name, device, lines, near, talk, room))
    settings = Settings(alarms_per_hour=alarms)
    train_words(Request(folder, target, language, settings=settings))
    ended = f"The model is in {target}; q ends listening, `intentd live --model {target}` goes on."
    print(ended, flush=True)  # listening may print nothing for a long time
    options = (
        Option("audio.device", "--device", _device(device)),
        Option("model.path", "--model", str(target)),
        Option("output.headless", "--lines", True if lines else None),
    )
    raise typer.Exit(run(Sources(options=options), debug=debugging()))


def record_words(wish: Wish) -> None:
    """Record at the microphone.

    Raises: UserError if there is none, or nothing can be kept.
    """
    from daemon.assembly.inputs import open_microphone
    from daemon.base.stderr import discard_native_stderr
    from daemon.capture.wake import Wake
    from daemon.config import Option, Sources, load_settings
    from daemon.output.dashboard.keys import keyboard
    from train.recorder.finder import TakeFinder
    from train.recorder.near_words import near_words
    from train.recorder.run import Recorder
    from train.recorder.session import Session, prompts
    from train.recorder.shelf import Shelf
    from train.recorder.sound import MicrophoneSound
    from train.recorder.view import Lines as PlainLines
    from train.recorder.view import Screen, View

    check_words(wish.words)
    console = Console()
    options = (Option("audio.device", "--device", _device(wish.device)),)
    audio = load_settings(Sources(options=options)).settings.audio
    wake = Wake()
    with discard_native_stderr():
        sound = MicrophoneSound(open_microphone(audio, wake), wake)
        try:
            shelf = Shelf(wish.folder, _speaker(wish.name), sound.device)
            wanted = {word: max(0, wish.takes - shelf.count(word)) for word in wish.words}
            near = near_words(wish.words, wish.near) if wish.near and any(wanted.values()) else {}
            session = Session(prompts(wish.words, wanted, near, talk=wish.talk, room=wish.room))
            plain = wish.lines or not console.is_terminal or console.is_dumb_terminal
            view: View = PlainLines(console) if plain else Screen(console)
            with keyboard(KEYS) as keys:
                Recorder(session, shelf, sound, view, keys, TakeFinder(), wish.longest).run()
        finally:
            sound.close()
    _conclude(wish.words, shelf, console)


def cut_recording(words: Sequence[str], folder: Path, name: str | None, source: Path) -> None:
    """Cut takes out of a recording.

    Raises: UserError if it can't be read or holds no take.
    """
    from train.recorder.finder import TakeFinder
    from train.recorder.run import cut
    from train.recorder.shelf import Shelf
    from train.recorder.sound import FileSound

    check_words(words)
    console = Console()
    shelf = Shelf(folder, _speaker(name), source.name)

    def say(sentence: str, good: bool) -> None:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    kept, refused = cut(FileSound(source), words, shelf, TakeFinder(), say)
    if not kept:
        raise UserError(f"{source} holds no take that could be kept ({refused} were found).")
    _conclude(words, shelf, console)


def check_words(words: Sequence[str]) -> None:
    """Raises UserError if one of them can't be a folder's name and a label."""
    from train.words.folder import RESERVED

    for word in words:
        if not word.strip() or word.startswith(("_", ".")) or "/" in word or "\\" in word:
            raise UserError(f"{word!r} can't be the name of a word's folder; spell it otherwise.")
        if word in RESERVED:
            raise UserError(f"{word!r} is a label that every model has; spell it otherwise.")
    if len(set(words)) < len(words):
        raise UserError("Each word needs to be named only once.")


def _conclude(words: Sequence[str], shelf, console: Console) -> None:  # type: ignore[no-untyped-def]
    counts = ", ".join(f"{word} {shelf.count(word)}" for word in words)
    console.print(
        f"Takes: {counts}. They are in {shelf.folder.resolve()} and nowhere else; train with: "
        f"intentd-train words {shelf.folder}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _speaker(name: str | None) -> str:
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "me"


def _device(given: str | None) -> str | int | None:
    return int(given) if given is not None and given.isascii() and given.isdigit() else given


__all__ = ["record", "teach"]
