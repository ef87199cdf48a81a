"""Commands of intentd-train that make recordings: synthesize and mine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.base.console import PlainConsole
from daemon.base.errors import UserError
from daemon.base.options import Debug
from daemon.base.text import screen_text
from train.environment import quiet


def synthesize(
    output: Annotated[Path, typer.Argument(help="The folder that is written.")],
    words: Annotated[list[str], typer.Argument(help="What is spoken, a folder each.")],
    voices: Annotated[int, typer.Option(min=1, help="Voices, half of each synthesiser.")] = 60,
    sentences: Annotated[
        int, typer.Option(min=0, help="Sentences without those words, in a folder _sentences.")
    ] = 1200,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files.")] = 0,
    cast: Annotated[
        str, typer.Option(help="training, or held-out: voices that training never has.")
    ] = "training",
    vocabulary: Annotated[
        Path | None, typer.Option(help="A file with a word a line, for more varied sentences.")
    ] = None,
    sentences_only: Annotated[
        bool, typer.Option("--sentences-only", help="Leave the words out; speak none of them.")
    ] = False,
    apart: Annotated[
        bool, typer.Option("--apart", help="With --vocabulary: its words one by one, with pauses.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Speak words and sentences in many synthetic voices.

    By espeak-ng and Flite.
    """
    from rich.progress import track

    from train.data.synthesis import CASTS, read_vocabulary
    from train.data.synthesis import synthesize as speak_all

    if cast not in CASTS:
        raise UserError(f"--cast {cast!r} is none of {', '.join(CASTS)}.")
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} is not empty; give another folder.")
    total = (0 if sentences_only else len(words) * voices) + sentences
    if apart and vocabulary is None:
        raise UserError("--apart goes with --vocabulary.")
    known = read_vocabulary(vocabulary) if vocabulary is not None else []
    spoken = speak_all(output, words, voices, sentences, seed, cast, known, sentences_only, apart)
    console = PlainConsole(stderr=True)
    for _ in track(spoken, "speaking", total, console=console):
        pass
    print(screen_text(f"{total} recordings are in {output}."))


def mine(
    model: Annotated[str, typer.Argument(help="A model directory or hub id.")],
    recordings: Annotated[
        str, typer.Argument(help="A folder, parquet file or manifest, without any of its words.")
    ],
    output: Annotated[Path, typer.Argument(help="The folder that is written.")],
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of an intent that is worth keeping.")
    ] = 0.2,
    debug: Debug = False,
) -> None:
    """Keep speech that a model mistakes for its intents, to train on.

    It comes from recordings without them; the next model can be trained on it.
    """
    from collections import Counter

    from rich.progress import Progress

    from daemon.base.audio import RATE
    from daemon.model.description.resolve import resolve_model
    from train import pipeline as steps
    from train.commands import mine as mining
    from train.data.clips import load_plain

    quiet()
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} is not empty; give another folder.")
    clips = load_plain(recordings, note=lambda text: print(text, file=sys.stderr))
    classifier = steps.open_model(resolve_model(model))
    seconds = sum(len(clip.samples) for clip in clips) / RATE
    found: Counter[str] = Counter()
    with Progress(console=PlainConsole(stderr=True)) as progress:
        task = progress.add_task("listening", total=seconds)
        for piece in mining.mine(classifier, clips, least, lambda s: progress.advance(task, s)):
            mining.write(output, piece)
            found[piece.intent] += 1
    most = ", ".join(f"{intent} ({count})" for intent, count in found.most_common(3))
    taken = f", most of them taken for {most}." if found else "."
    print(screen_text(f"{found.total()} pieces of {seconds / 3600:.2f} h are in {output}{taken}"))
