"""The command line of intentd-train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a shipped recipe by bare name.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, instead of the file's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the model goes; runs/NAME if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Train a model by a recipe."""
    from train.finetune import finetune
    from train.recipe import load_recipe

    loaded = load_recipe(recipe, assignments or ())
    result = finetune(loaded, output or Path("runs") / loaded.name, resume)
    print(result)


def main() -> None:
    try:
        app()
    except UserError as error:
        print(f"intentd-train: {error}", file=sys.stderr)
        sys.exit(error.status)
