"""`intentd-train evaluate`: measures a model on a part or folder.

The part is a recipe's. Shows a table.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from daemon.base.console import PlainConsole
from daemon.base.errors import UserError, os_reason
from daemon.base.text import name_text
from daemon.base.text_files import write_text
from daemon.config.settings import HOP_SECONDS
from daemon.model.classifier import Classifier
from daemon.model.description.resolve import resolve_model
from train import pipeline as steps
from train.data.clips import Clip, Loaded, load_clips
from train.data.split import PARTS
from train.environment import command_line, quiet, versions
from train.evaluation.evaluate import Evaluation, Options
from train.recipe import DataSection, EvaluateSection, ModelSection, Recipe
from train.recipe_files import load_recipe
from train.report.attempt import attempt

OTHERS = "unknown"
"""The non-intent that labels unknown to a model count as, if the model has it."""


@dataclass(frozen=True, slots=True)
class Request:
    """The command's arguments."""

    model: str
    data: str
    assignments: tuple[str, ...] = ()
    part: str | None = None
    """Of a recipe's split; None: the test part."""
    spacing: float | None = None
    snr_db: tuple[float, ...] = ()
    per_label: int | None = None
    noise: Path | None = None
    json_file: Path | None = None
    plots: Path | None = None
    backend: str = "torch"
    verifier: str = "auto"
    """As in the daemon's settings: "auto", "off" or a folder."""


def measure(request: Request, console: Console) -> dict[str, Any]:
    """Measure, write what was asked for, show a table; returns the figures.

    The JSON file is written first; what of the rest fails is named and left out.

    Raises:
        UserError: model, data and options don't fit together, or the JSON can't be written.
    """
    quiet()
    if request.noise is not None and not request.noise.is_file():
        raise UserError(f"The noise {request.noise} does not exist.")
    if request.part not in (None, *PARTS, "all"):
        raise UserError(f"--part is one of {', '.join(PARTS)} or all, not {request.part!r}.")
    _check_numbers(request)
    path = resolve_model(request.model)
    classifier = steps.open_model(path, backend=request.backend, verifier=request.verifier)
    run_console = PlainConsole(stderr=True)
    recipe, clips, left_out = _clips(request, classifier, functools.partial(_note, run_console))
    if request.noise is not None:
        noise = str(request.noise.resolve())
        recipe = recipe.model_copy(
            update={"evaluate": recipe.evaluate.model_copy(update={"noise": noise})}
        )
    options = _options(request, recipe.evaluate)
    run = steps.Run(recipe, path, command_line(), run_console)
    if options.levels != (None,) and steps.evaluation_noise(recipe) is None:
        if request.snr_db:
            raise UserError("--snr needs a noise: give --noise FILE.")
        console.print("Without a noise (--noise FILE) nothing is measured in noise.")
    found = steps.evaluate_model(run, classifier, clips, options)
    figures: dict[str, Any] = {
        "model": request.model,
        "backend": classifier.backend,
        "data": request.data,
        "part": (request.part or "test") if _is_recipe(request.data) else "all",
        "left_out": left_out,
        "spacing": options.spacing,
        "per_label": options.per_label,
        "versions": versions(),
        **found.figures(),
    }
    note = functools.partial(_note, run_console)
    problem = None
    if request.json_file is not None:
        problem = _write(request.json_file, json.dumps(figures, indent=2) + "\n")
    if request.plots is not None:
        _draw(request.plots, found, note)
    attempt("the table", lambda: show(figures, console), note)
    if problem is not None:
        raise problem
    return figures


def _note(console: Console, text: str) -> None:
    console.print(f"note: {text}", highlight=False)


def _draw(folder: Path, found: Evaluation, note: Callable[[str], None]) -> None:
    from train.report import plots

    if not attempt(f"the folder {folder}", lambda: folder.mkdir(parents=True, exist_ok=True), note):
        return
    drawings = {"confusion": plots.confusion, "reliability": plots.reliability}
    for name, draw in (drawings | {"noise": plots.noise}).items():
        attempt(f"{name}.png", functools.partial(draw, folder / f"{name}.png", found), note)


def show(figures: dict[str, Any], console: Console) -> None:
    """The table on the screen."""
    # A column for each noise: as rows they would not fit into eighty columns.
    table = Table(title="by noise, in brackets the 95 % interval", title_justify="left")
    table.add_column("noise")
    rows = figures["conditions"]
    for row in rows:
        level = "none" if row["snr_db"] is None else f"{row['snr_db']:g} dB"
        table.add_column(level, justify="right", no_wrap=True)
    for name, cell in ROWS:
        table.add_row(name, *(cell(row) for row in rows))
    console.print(table)
    console.print(
        "windows: one a word (or all with speech of an utterance); recordings: the verdict on "
        "each clip; heard, wrong, false alarms, delay: events of a stream with a clip every "
        f"{figures['spacing']:g} s.",
        style="dim",
    )
    free = figures["command_free"]
    if free["hours"]:
        console.print(
            f"command-free audio: {free['false_alarms']} false alarms in {free['hours']:.2f} h, "
            f"{free['false_alarms_per_hour']:.2f} an hour, at most "
            f"{free['false_alarms_per_hour_upper']:.1f} with 95 % confidence",
            highlight=False,
        )
        for name, track in figures["command_free_tracks"].items():
            console.print(
                f"  {name}: {track['false_alarms']} in {track['hours']:.2f} h", highlight=False
            )
    by_label = figures["conditions"][0]["utterances_by_label"] if figures["conditions"] else {}
    words = Table(title="by label, recordings without added noise", title_justify="left")
    for name in ("label", "right", "N", "95 %"):
        words.add_column(name, justify="right")
    for label, row in by_label.items():
        low, high = row["interval"]
        words.add_row(label, f"{row['accuracy']:.1%}", str(row["n"]), f"{low:.1%} to {high:.1%}")
    console.print(words)


def _share(row: dict[str, Any], key: str, interval: str, n: str) -> str:
    if not row.get(n) or row.get(key) is None:
        return ""
    low, high = row[interval]
    return f"{row[key]:.1%}\n[{low:.0%}, {high:.0%}]\nN={row[n]}"


def _figure(row: dict[str, Any], key: str, form: str) -> str:
    return "" if not row.get("n", 1) or row[key] is None else format(row[key], form)


ROWS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("windows", lambda r: _share(r["windows"], "accuracy", "accuracy_interval", "n")),
    ("recordings", lambda r: _share(r["utterances"], "accuracy", "accuracy_interval", "n")),
    ("intents", lambda r: _share(
        r["utterances"], "intents_accuracy", "intents_interval", "intents_n"
    )),
    ("macro-F1", lambda r: _figure(r["utterances"], "macro_f1", ".3f")),
    ("calibration error", lambda r: _figure(r["utterances"], "calibration_error", ".3f")),
    ("heard", lambda r: f"{r['stream']['hits']} of {r['stream']['said']}"),
    ("wrong", lambda r: str(r["stream"]["wrong"])),
    ("false alarms", lambda r: str(r["stream"]["false_alarms"])),
    ("an hour", lambda r: _figure(r["stream"], "false_alarms_per_hour", ".1f")),
    ("delay in s", lambda r: _figure(r["stream"], "delay_median", ".2f")),
)  # fmt: skip


def _is_recipe(data: str) -> bool:
    path = Path(data)
    return path.suffix == ".toml" or not (path.exists() or "/" in data)


def _clips(
    request: Request, classifier: Classifier, note: Callable[[str], None]
) -> tuple[Recipe, Sequence[Clip], int]:
    """The recipe for measuring, the clips, and the number of rows left out."""
    if _is_recipe(request.data):
        recipe = load_recipe(request.data, request.assignments)
        loaded = load_clips(recipe)
        part = request.part or "test"
        clips = [c for c in loaded.clips if part in (c.part, "all")]
        what = f"the {part} part of {request.data}"
    else:
        recipe, loaded = _of_path(request, classifier)
        clips, what = list(loaded.clips), request.data
    for text in loaded.notes:
        note(text)
    strange = sorted({clip.label for clip in clips} - set(classifier.labels))
    if strange:
        raise UserError(f"{what} has labels that the model doesn't know: {', '.join(strange)}.")
    if not clips:
        raise UserError(f"{what} holds no recording.")
    return recipe, clips, len(loaded.problems)


def _of_path(request: Request, classifier: Classifier) -> tuple[Recipe, Loaded]:
    if name_text(request.data) != request.data:
        raise UserError(
            f"The name {name_text(request.data)} is no UTF-8; rename it, or change into that "
            "folder and give a dot."
        )
    info = classifier.info
    rename = {label: label for label in classifier.labels}
    if OTHERS in info.non_intents:
        rename["*"] = OTHERS
    tree: dict[str, Any] = {
        "name": Path(request.data).stem,
        "model": ModelSection(
            unit=info.unit,
            window=classifier.window / info.rate,
            hop=info.hop or HOP_SECONDS,
            non_intents=tuple(sorted(info.non_intents)),
        ),
        "data": (DataSection(path=request.data, rename=rename, placing="word", holdout=False),),
    }
    if request.assignments or request.part not in (None, "all"):
        raise UserError("--set and --part go with a recipe; a folder has no parts.")
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{request.data}: {error.errors()[0]['msg']}.") from error
    return recipe, load_clips(recipe)


def _check_numbers(request: Request) -> None:
    for name, value in (("--spacing", request.spacing), ("--per-label", request.per_label)):
        if value is not None and value <= 0:
            raise UserError(f"{name} must be above 0.")


def _options(request: Request, section: EvaluateSection) -> Options:
    return Options(
        levels=request.snr_db or (None, *section.snr_db),
        per_label=request.per_label or section.per_label,
        spacing=request.spacing or section.spacing,
    )


def _write(path: Path, text: str) -> UserError | None:
    """Write the figures; return the error if that fails.

    It is raised when they have been shown.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        return UserError(f"{path} cannot be written to ({os_reason(error)}).", status=1)
    return None
