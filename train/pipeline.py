"""Steps of a recipe: data, training, calibration, evaluation, report.

Each step writes its result to the output folder before anything is shown of it, so that a run that
was interrupted goes on from there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from daemon.base.console import PlainConsole
from daemon.base.errors import UserError, os_reason
from daemon.base.resources import disk_full, out_of_memory
from daemon.base.text_files import write_text
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.description.calibration import write_intentd_key
from daemon.model.verifier.description import FOLDER as VERIFIER
from daemon.model.verifier.description import find_verifier
from daemon.model.verifier.verifier import Verifier
from train.augment import Audio
from train.calibration.cross_fit import Part, cross_fit
from train.calibration.temperature import temperature_of
from train.calibration.thresholds import (
    Calibrated,
    calibrate,
    score_tracks,
)
from train.data.clips import (
    Clip,
    Loaded,
    check_parts,
    labels_of,
    load_clips,
    write_problems,
    write_split,
)
from train.data.noises import load_noise
from train.data.split import Part as SplitPart
from train.data.split import counts
from train.distributed import main_process, peak_memory_gib, wait_for_all
from train.environment import quiet, versions
from train.evaluation.evaluate import Evaluation, Options, evaluate
from train.recipe import Recipe
from train.report import card as report
from train.run_folder import FINISHED, PROBLEMS, SPLIT, begin, check_output
from train.simulation.conditions import (
    NOISE,
    Tracks,
    calibration_tracks,
    extra_tracks,
    settings_of_recipe,
)
from train.training.checkpoints import save_whole
from train.training.finetune import noises_of, train_model
from train.training.initial_model import SMALL, find_base
from train.training.trainer import IntentTrainer, keeper_of

HISTORY = "history.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a recipe."""

    recipe: Recipe
    output: Path
    command: str
    """As typed, for the model card."""
    console: Console = field(default_factory=lambda: PlainConsole(stderr=True))
    resume: bool = False
    force: bool = False

    def say(self, text: str) -> None:
        """Show a line, in the first of several processes; a log gets it whole."""
        if main_process():
            whole = not self.console.is_terminal
            self.console.print(text, highlight=False, soft_wrap=whole)


def train(run: Run) -> dict[str, Any]:
    """Run the whole recipe and return the content of metrics.json.

    {} in processes other than the first.

    Raises:
        UserError: something is wrong with recipe, data or output folder, or the system refused
            disk space or memory; what is saved by then stays.
        StoppedError: SIGINT or SIGTERM came.
    """
    try:
        return _train(run)
    except Exception as error:
        if isinstance(error, UserError) or not (sentence := _refused(error, run)):
            raise
        raise UserError(sentence, status=1) from error


def _refused(error: Exception, run: Run) -> str:
    """A sentence if the system refused disk space, memory or a file, else ""."""
    then = f"the same command with --resume goes on with what is saved in {run.output}"
    if disk_full(error):
        return f"No space is left on the disk; make room, then {then}."
    if out_of_memory(error):
        return f"The system has no memory left for it; close other programs, then {then}."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used ({os_reason(error)}); then {then}."
    return ""


def _train(run: Run) -> dict[str, Any]:
    quiet()
    for path in run.recipe.calibrate.free:
        if not run.recipe.path(path).exists():
            raise UserError(f"calibrate.free names {run.recipe.path(path)}, which does not exist.")
    if run.recipe.model.base != SMALL:
        find_base(run.recipe.model.base)  # before what takes long
    if main_process() and (note := check_output(run.output, run.recipe, run.resume, run.force)):
        run.say(f"note: {note}")
    loaded, labels = load(run)
    if main_process():
        begin(run.output, run.recipe, run.force)
        _write_sources(run, loaded)
    wait_for_all()
    if run.recipe.distil is not None:
        return _pretrain(run, loaded)
    noises = noises_of(run.recipe)
    trainer = train_model(run.recipe, loaded, labels, noises, run.output, run.resume, run.console)
    if main_process():
        _save(run, trainer)
    parts = cross_fitted(run, loaded, labels, noises)
    if not main_process():
        return {}
    calibrate_model(run, loaded, labels, noises, parts)
    return finish(run, loaded)


def _save(run: Run, trainer: IntentTrainer) -> None:
    save_whole(trainer.save_model, run.output)
    history = {
        "seconds": keeper_of(trainer).seconds,
        "steps": trainer.state.global_step,
        "seconds_per_step": trainer.pace.seconds_per_step,
        "peak_memory_gib": peak_memory_gib(),
        "processes": trainer.args.world_size,
        "device": str(trainer.args.device),
        "command": run.command,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "versions": versions(),
        "log": trainer.state.log_history,
    }
    write_text(run.output / HISTORY, json.dumps(history) + "\n")


def cross_fitted(
    run: Run,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    keep: bool = False,
) -> list[Part]:
    """The recipe's models for calibration, in all processes.

    These train together.

    Raises:
        UserError: with `keep`, a model of another recipe would have to be replaced.
    """
    parts: list[Part] = []
    if run.recipe.calibrate.cross_fit:
        parts = list(cross_fit(run.recipe, loaded, labels, noises, run.output, run.console, keep))
    return parts


def _pretrain(run: Run, loaded: Loaded) -> dict[str, Any]:
    from train.training import pretrain

    figures = pretrain.pretrain(run.recipe, loaded, run.output, run.resume, run.console)
    if not main_process():
        return {}
    made = versions()
    pretrain.write(
        run.output, run.recipe, figures, pretrain.card(run.recipe, figures, made, run.command)
    )
    return figures


def load(run: Run) -> tuple[Loaded, tuple[str, ...]]:
    """The recipe's clips and labels; the clips are counted on the screen.

    Raises:
        UserError: a row cannot be used and the recipe says that this is fatal.
    """
    loaded = load_clips(run.recipe)
    if loaded.problems and main_process():
        run.output.mkdir(parents=True, exist_ok=True)
        write_problems(run.output / PROBLEMS, loaded.problems)
    if loaded.faults and run.recipe.problems == "fatal":
        first = loaded.faults[0]
        raise UserError(
            f"{len(loaded.faults)} recordings cannot be used, the first, {first.path}, "
            f"{first.reason}; {run.output / PROBLEMS} lists them all."
        )
    table = counts([c.label for c in loaded.clips], [c.part for c in loaded.clips])
    say = run.say
    total = {p: sum(row[p] for row in table.values()) for p in ("train", "validation", "test")}
    say(
        f"{total['train']} clips to train on, {total['validation']} to validate, {total['test']} "
        f"to test; {len(loaded.problems)} left out"
        + (f" ({run.output / PROBLEMS} says why)" if loaded.problems else "")
    )
    for label, number in loaded.lost_labels.items():
        say(f"none of the {number} files of {label!r} can be used: it is left out")
    for source, number in loaded.unknown_groups.items():
        say(f"{source}: {number} clips of unknown speakers are split clip by clip")
    for sentence in loaded.notes:
        say(f"note: {sentence}")
    if run.recipe.distil is not None:
        return loaded, ()
    for sentence in check_parts(run.recipe, loaded.clips):
        say(f"note: there is {sentence}")
    return loaded, labels_of(run.recipe, loaded.clips)


def calibrate_model(
    run: Run,
    loaded: Loaded,
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    parts: Sequence[Part],
) -> Calibrated:
    """Calibrate the model in the output folder; write its `intentd` key.

    `parts` as `cross_fitted` gives them.

    Raises:
        UserError: there is no model, or its labels are not the recipe's.
    """
    recipe = run.recipe
    classifier = open_calibrated(run, labels)
    settings = settings_of_recipe(recipe, labels)
    with run.console.status("calibrating"):
        validation = loaded.part("validation")
        temperature = temperature_of(classifier, recipe, settings, validation, noises)
        tracks = calibration_tracks(recipe, validation, labels, noises)
        scored = score_tracks(tracks, settings, classifier.logits, temperature)
        for track in extra_tracks(recipe):
            scored += score_tracks(Tracks((), (track,)), settings, classifier.logits, temperature)
        for part in parts:
            other = open_model(part.model, recipe)
            own = temperature_of(other, recipe, settings, validation, noises)
            tracks = calibration_tracks(recipe, part.clips, labels, noises)
            tracks = replace(tracks, free=tuple(t for t in tracks.free if t.name != NOISE))
            scored += score_tracks(tracks, settings, other.logits, own)
        found = calibrate(
            recipe,
            labels,
            settings,
            temperature,
            scored,
            {"recipe": recipe.name, "date": f"{datetime.now(UTC):%Y-%m-%d}"},
        )
    write_intentd_key(run.output, found.calibration)
    # It was calibrated with the model that was there before.
    shutil.rmtree(run.output / VERIFIER, ignore_errors=True)
    curve = [
        {
            "threshold": point.threshold,
            "miss_rate": point.miss_rate,
            "false_alarms_per_hour": point.false_alarms_per_hour,
        }
        for point in found.curve
    ]
    written = {"intentd": found.calibration.to_dict(), "curve": curve}
    write_text(run.output / "calibration.json", json.dumps(written, indent=2) + "\n")
    measured = found.calibration.measured
    run.say(
        f"calibrated: temperature {temperature:.2f}, {measured['hits']} of {measured['words']} "
        f"words, {measured['false_alarms']} false alarms in {measured['command_free_hours']:.2f} h "
        f"({measured['false_alarms_elsewhere']} with thresholds of the other half)"
    )
    return found


def open_calibrated(run: Run, labels: tuple[str, ...]) -> Classifier:
    """The model in the output folder, to be calibrated.

    Raises:
        UserError: there is none, or its labels are not the recipe's.
    """
    classifier = open_model(run.output, run.recipe)
    if classifier.labels != labels:
        raise UserError(
            f"The model in {run.output} has the labels {', '.join(classifier.labels)} and the "
            f"recipe {', '.join(labels)}."
        )
    return classifier


def finish(run: Run, loaded: Loaded) -> dict[str, Any]:
    """Evaluate on the test part, then write metrics.json and the report.

    The model is the one in the output folder. The report is pictures and model card; what of these
    can't be made is named and left out.
    """
    recipe = run.recipe
    part: SplitPart = "test" if loaded.part("test") else "validation"
    clips = loaded.part(part)
    found = evaluate_model(
        run, open_model(run.output, recipe, verifier="auto"), clips, options_of(recipe)
    )
    figures = {
        "part": part,
        "recipe": recipe.name,
        "seed": recipe.train.seed,
        "command": run.command,
        "versions": versions(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "clips": counts([c.label for c in loaded.clips], [c.part for c in loaded.clips]),
        "unknown_speakers": loaded.unknown_groups,
        "problems": len(loaded.problems),
        "notes": list(loaded.notes),
        **found.figures(),
    }
    write_text(run.output / FINISHED, json.dumps(figures, indent=2) + "\n")
    report.write(run.output, recipe, found, figures, lambda text: run.say(f"note: {text}"))
    return figures


def options_of(recipe: Recipe) -> Options:
    e = recipe.evaluate
    return Options((None, *e.snr_db), e.per_label, e.spacing)


def evaluate_model(
    run: Run, classifier: Classifier, clips: Sequence[Clip], options: Options
) -> Evaluation:
    """Measure a model on clips, with the recipe's noise."""
    with run.console.status("evaluating") as status:
        return evaluate(
            classifier,
            run.recipe,
            clips,
            evaluation_noise(run.recipe),
            options,
            lambda what: status.update(Text(f"evaluating: {what}")),
        )


def evaluation_noise(recipe: Recipe) -> Audio | None:
    """The noise of evaluation, one recording."""
    if recipe.evaluate.noise is not None:
        return load_noise(recipe.path(recipe.evaluate.noise))
    noises = noises_of(recipe)
    return np.concatenate(noises) if noises else None


def open_model(
    path: Path | str,
    recipe: Recipe | None = None,
    backend: str = "torch",
    verifier: str = "off",
) -> Classifier:
    """The daemon's classifier of a model, with batches for throughput.

    `verifier` as in the daemon's settings.
    """
    classifier = load_classifier(
        path,
        max_batch=64,
        backend=backend,
        window_seconds=None if recipe is None else recipe.model.window,
        threads=recipe.train.threads if recipe is not None else 0,
    )
    info = classifier.info
    found = find_verifier(info.directory, verifier, info.labels, info.unit)
    if found is not None:
        classifier.verifier = Verifier(found, info.labels)
    return classifier


def _write_sources(run: Run, loaded: Loaded) -> None:
    write_problems(run.output / PROBLEMS, loaded.problems)
    write_split(run.output / SPLIT, loaded, run.recipe)
