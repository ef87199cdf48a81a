"""The command line of intentd-train.

    intentd-train RECIPE [--set key=value]…     train by a recipe
    intentd-train evaluate MODEL DATA           measure a model
    intentd-train calibrate MODEL RECIPE        choose temperature and thresholds again
    intentd-train report MODEL RECIPE           write metrics.json and the model card again
    intentd-train synthesize OUT WORD…          synthetic speech to train with
    intentd-train mine MODEL RECORDINGS OUT     cut out what a model takes for its words
    intentd-train export MODEL --to onnx        one file for other programs and browsers
    intentd-train record WORD…                  takes of your words, through the microphone
    intentd-train teach WORD…                   record, train, listen
    intentd-train words FOLDER                  a model of own words; also intentd-train FOLDER

A recipe that is called like a command is given with its path.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.base.console import PlainConsole
from daemon.base.errors import UserError
from daemon.base.options import Debug, LogFile, new_app, version_option
from daemon.base.program import complete, keep_docstrings, open_closed_streams, run_app
from daemon.base.text import screen_text
from train.commands.record import record, teach
from train.commands.recordings import mine, synthesize
from train.commands.words import words
from train.environment import command_line, quiet

if TYPE_CHECKING:
    from train.training.finetune import StoppedError

COMMANDS = (
    "evaluate",
    "calibrate",
    "export",
    "mine",
    "verifier",
    "record",
    "report",
    "synthesize",
    "teach",
    "train",
    "words",
)
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, instead of the recipe's.")
]

app = new_app(
    "Train, calibrate and measure the models that intentd runs. "
    "`intentd-train RECIPE` is short for `intentd-train train RECIPE`."
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, version_option("intentd-train")] = False,
    log_file: LogFile = None,
    debug: Debug = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a shipped recipe by bare name.")],
    assignments: Assignments = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the model goes; runs/NAME if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in the folder.")] = False,
    folds: Annotated[
        bool, typer.Option("--folds", help="Train and test once for each bucket of the split.")
    ] = False,
    each: Annotated[
        str | None,
        typer.Option(help="section.key=VALUE,VALUE: with --folds, compare these in one table."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a model by a recipe, calibrate it, and measure it."""
    from train.recipe_files import load_recipe

    loaded = load_recipe(recipe, assignments or ())  # a mistake in it needs no torch to be found
    from train import pipeline as steps
    from train.distributed import left_alone, main_process
    from train.training.finetune import StoppedError

    target = output or Path("runs") / loaded.name
    run = steps.Run(
        loaded, target, command_line(), PlainConsole(stderr=True), resume=resume, force=force
    )
    if (alone := left_alone()) is not None:
        run.console.print(f"note: {alone}", highlight=False)
    if each is not None and not folds:
        raise UserError("--each goes with --folds.")
    try:
        if folds:
            from train.commands.cross_validate import compare, cross_validate, variants

            if each is None:
                cross_validate(run)
                return
            runs = {
                name: replace(
                    run,
                    recipe=load_recipe(recipe, [*(assignments or ()), assignment]),
                    output=target / name,
                )
                for name, assignment in variants(each).items()
            }
            compare(runs, target, PlainConsole())
        else:
            steps.train(run)
            if main_process() and loaded.distil is not None:
                setting = shlex.quote(f"model.base={target}")
                _say(f"The encoder is in {target}; to finetune from it: --set {setting}")
            elif main_process():
                model = shlex.quote(str(target))
                _say(f"The model is in {target}; try: intentd replay --model {model} FILE")
                if loaded.train.push_to_hub:
                    from train.hub import push

                    _say(f"It is also at {push(target, loaded.train.push_to_hub)}")
    except StoppedError as stop:
        raise _stopped(stop, "--resume goes on from there") from None


def _say(text: str) -> None:
    """Print a line of which a terminal obeys nothing."""
    print(screen_text(text))


def _stopped(stop: StoppedError, how: str) -> typer.Exit:
    print(f"intentd-train: stopped at step {stop.step}; {how}.", file=sys.stderr)
    return typer.Exit(130 if stop.number == signal.SIGINT else 0)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model directory or hub id.")],
    data: Annotated[str, typer.Argument(help="A recipe, a parquet file, a folder, or a manifest.")],
    assignments: Assignments = None,
    part: Annotated[
        str | None,
        typer.Option(help="Part of a recipe's split: test (the default), validation, train, all."),
    ] = None,
    spacing: Annotated[float | None, typer.Option(help="Seconds from word to word.")] = None,
    snr: Annotated[
        list[float] | None, typer.Option(help="Decibels over the noise; may be repeated.")
    ] = None,
    per_label: Annotated[int | None, typer.Option(help="Clips of each intent in a stream.")] = None,
    noise: Annotated[Path | None, typer.Option(help="A recording of noise.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write pictures into this folder.")] = None,
    backend: Annotated[
        str, typer.Option(help="What runs the model; model.backend in config.toml names them.")
    ] = "torch",
    verifier: Annotated[
        str,
        typer.Option(help="auto, off or a verifier's folder, as model.verifier in config.toml."),
    ] = "auto",
    debug: Debug = False,
) -> None:
    """Measure a model: by window, by recording, and as streams.

    Streams go through the daemon's own classes.
    """
    from train.commands.evaluate import Request, measure

    measure(
        Request(
            model,
            data,
            tuple(assignments or ()),
            part,
            spacing,
            tuple(snr or ()),
            per_label,
            noise,
            json_file,
            plots,
            backend,
            verifier,
        ),
        PlainConsole(),
    )


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="A model directory; its config.json is changed.")],
    recipe: Annotated[str, typer.Argument(help="The recipe it was trained by.")],
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Choose temperature and thresholds of a trained model again.

    They are chosen on what the recipe's [calibrate] names. With calibrate.cross_fit the models for
    the training part are trained first, unless MODEL/cross-fit has them.
    """
    from train.recipe_files import load_recipe

    loaded_recipe = load_recipe(recipe, assignments or ())
    from train import pipeline as steps
    from train.training.finetune import StoppedError, noises_of

    run = steps.Run(loaded_recipe, model, command_line())
    quiet()
    steps.open_model(model, loaded_recipe)
    loaded, labels = steps.load(run)
    steps.open_calibrated(run, labels)  # before what takes long
    noises = noises_of(loaded_recipe)
    try:
        parts = steps.cross_fitted(run, loaded, labels, noises, keep=True)
    except StoppedError as stop:
        raise _stopped(stop, "the same command goes on from there") from None
    found = steps.calibrate_model(run, loaded, labels, noises, parts)
    print(json.dumps(found.calibration.to_dict(), indent=2))


@app.command()
def verifier(
    model: Annotated[Path, typer.Argument(help="A model directory; it gets a folder verifier.")],
    recipe: Annotated[str, typer.Argument(help="The recipe it was trained by.")],
    network: Annotated[
        Path | None,
        typer.Option(
            help="An ONNX file; by default the network that comes with intentd, else that "
            "of the package efficientword-net."
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=100, help="Windows that its linear layer is trained on.")
    ] = 9_600,
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Add a verifier to a trained model: a network that confirms its events.

    A second network confirms or rejects them. Its linear layer is trained on the training part, and
    calibrated with the model on what the recipe's [calibrate] names.
    """
    from train.recipe_files import load_recipe

    loaded_recipe = load_recipe(recipe, assignments or ())
    from train import pipeline as steps
    from train.verification.add import add_verifier, find_network

    run = steps.Run(loaded_recipe, model, command_line())
    quiet()
    info = add_verifier(run, network or find_network(), draws)
    _say(f"{info.directory} is the verifier of {model}.")


@app.command()
def report(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    recipe: Annotated[str, typer.Argument(help="The recipe it was trained by.")],
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Measure a trained model on the test part again, and report.

    Writes metrics.json, pictures, model card.
    """
    from train.recipe_files import load_recipe

    loaded_recipe = load_recipe(recipe, assignments or ())
    from train import pipeline as steps

    run = steps.Run(loaded_recipe, model, command_line())
    quiet()
    steps.open_model(model, loaded_recipe)
    loaded, _ = steps.load(run)
    steps.finish(run, loaded)
    _say(f"{model / 'README.md'} tells how good it is.")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model directory or hub id.")],
    to: Annotated[str, typer.Option("--to", help="The format: onnx.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option(help="The folder; MODEL-onnx if not given.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a model as one file, from samples to scores, with a description."""
    from daemon.model.description.resolve import resolve_model
    from train.commands.export import DESCRIPTION, FORMATS, MODEL
    from train.commands.export import export as write

    if to not in FORMATS:
        raise UserError(f"--to {to!r} is none of {', '.join(FORMATS)}.")
    quiet()
    directory = resolve_model(model)
    target = output or Path(f"{directory.name}-{to}")
    write(directory, target)
    print(f"{target / MODEL} takes windows of samples; {target / DESCRIPTION} says which.")


for command in (synthesize, mine, record, words, teach):
    app.command()(command)


def with_command(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the command that they leave out.

    A first argument that is no command is a recipe, or a folder of own words.
    """
    first = 0
    while first < len(arguments) and arguments[first].split("=")[0] in ("--debug", "--log-file"):
        first += 2 if arguments[first] == "--log-file" else 1
    name = arguments[first] if first < len(arguments) else ""
    if not name or name.startswith("-") or name in COMMANDS:
        return list(arguments)
    command = "words" if Path(name).is_dir() else "train"
    return [*arguments[:first], command, *arguments[first:]]


def main() -> None:
    """Run the command that the arguments name."""
    open_closed_streams()
    keep_docstrings("train")
    complete(app, "intentd-train")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        status = run_app(app, with_command(sys.argv[1:]), "intentd-train")
    except KeyboardInterrupt:  # a second one, on the way out
        status = 130
    sys.exit(status)
