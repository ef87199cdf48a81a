"""Command-line options of `intentd-train words`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from daemon.base.errors import UserError
from daemon.base.options import Debug
from daemon.messages import Unit

Folder = Annotated[
    Path, typer.Argument(help="A folder with a subfolder a word, as `record` makes it.")
]
Output = Annotated[
    Path | None, typer.Option(help="Where the model goes; runs/FOLDER if not given.")
]
Language = Annotated[
    str,
    typer.Option(help="In which the words are spoken, as espeak-ng calls it (espeak-ng --voices)."),
]
Alarms = Annotated[
    float,
    typer.Option(
        "--alarms-per-hour", min=0.01, help="False alarms that are bearable, in other talk."
    ),
]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the processor; 0: all cores.")]


def words(
    folder: Folder,
    output: Output = None,
    language: Language = "en-us",
    unit: Annotated[
        str,
        typer.Option(
            help="word: a word or phrase fits in a window of at most 2.5 s; utterance: a folder "
            "holds sentences of one meaning."
        ),
    ] = "word",
    window: Annotated[
        float | None,
        typer.Option(min=0.5, max=3.0, help="Seconds of a window; by the takes if not given."),
    ] = None,
    alarms: Alarms = 0.5,
    base: Annotated[
        str, typer.Option(help="The encoder to build on, as model.base in a recipe.")
    ] = "words",
    voices: Annotated[
        bool, typer.Option("--voices/--no-voices", help="Let synthesisers say the words as well.")
    ] = True,
    verifier: Annotated[
        str,
        typer.Option(
            help="A second network that confirms events: auto, the one that comes with intentd; "
            "off; or an ONNX file."
        ),
    ] = "auto",
    threads: Threads = 0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same model.")] = 0,
    debug: Debug = False,
) -> None:
    """Train a model of your own words, in minutes and without anything else."""
    from train.words.run import Request, train_words
    from train.words.settings import Settings

    if unit not in ("word", "utterance"):
        raise UserError(f"--unit {unit!r} is neither word nor utterance.")
    settings = Settings(
        base=base,
        unit=cast(Unit, unit),
        window=window,
        verifier=verifier,
        alarms_per_hour=alarms,
        threads=threads,
        seed=seed,
    )
    target = output or output_of(folder)
    train_words(Request(folder, target, language, voices, settings))
    print(f"The model is in {target}; try: intentd live --model {target}")


def output_of(folder: Path) -> Path:
    """Default directory for the model of a folder."""
    place = folder.resolve()
    return Path("runs") / place.name
