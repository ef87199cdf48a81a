"""`intentd-train words`: from a folder of words to a model with report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from daemon.base.errors import UserError, os_reason
from train.data.clips import write_problems
from train.data.phonemes import spoken
from train.environment import command_line, quiet, versions
from train.run_folder import FINISHED, PROBLEMS
from train.words import report
from train.words.card import card
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take, read_folder
from train.words.learn import learn, window_of
from train.words.other_voices import TRAINING_VOICES, detected_in_other_voices, say_words
from train.words.recipe import recipe_text
from train.words.save import save_model
from train.words.settings import Settings
from train.words.stages import STRANGERS, VOICES, Stages, bar, stages
from train.words.verifying import verifier_network
from train.words.word_checks import warnings_of
from train.world import forget_audio, without

RECIPE = "recipe.toml"
OWN = "own_words"
"""Key of metrics.json by which a model of own words is known."""


@dataclass(frozen=True, slots=True)
class Request:
    """A folder to train on, and where the model goes."""

    folder: Path
    output: Path
    language: str = "en-us"
    voices: bool = True
    """Let synthesisers that are installed speak the words as well."""
    settings: Settings = field(default_factory=Settings)
    console: Console = field(default_factory=lambda: Console(stderr=True))


def train_words(request: Request) -> report.Expectation:
    """Train, write the model directory and print what to expect.

    Raises UserError on whatever is wrong with folder or output; the output is replaced only when
    the new model is whole, and only if it is one of own words.
    """
    quiet()
    began = time.monotonic()
    check_output(request.output)
    own = read_folder(request.folder)
    console = request.console
    sentences = request.settings.unit == "utterance"
    # Sentences are named by what they mean, not by what is said in them.
    words = [
        spoken(word.replace("_", " "), request.language) for word in own.words if not sentences
    ]
    _introduce(own, console)
    warnings = warnings_of(own, words)
    for warning in warnings:
        console.print(f"note: {warning}", highlight=False, soft_wrap=True)
    window = window_of(own, request.settings)
    embedder = Embedder(request.settings.base, window, request.settings.threads)
    voices = request.voices and not sentences
    cast: Sequence[Take] = ()
    others: dict[str, tuple[int, int]] = {}
    verifier = not sentences and verifier_network(request.settings.verifier) is not None
    with bar(console) as progress:
        say = Stages(progress, stages(sentences, voices, verifier)).say
        if voices:
            say(VOICES, 0.0)
            cast = say_words(own.words, request.language, TRAINING_VOICES)
        learned = learn(own, without(words), request.settings, say, embedder, cast)
        if voices:
            say(STRANGERS, 0.0)
            others = detected_in_other_voices(
                learned, embedder, request.language, request.settings.threads
            )
    forget_audio()
    found = report.expectation(learned, others, warnings)
    figures = {
        OWN: str(request.folder.resolve()),
        "minutes": round((time.monotonic() - began) / 60, 2),
        "command": command_line(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "versions": versions(),
        "problems": len(own.problems),
        **found.figures(),
    }
    with _new_folder(request.output) as folder:
        save_model(folder, embedder, learned, _measured(found, figures))
        write_problems(folder / PROBLEMS, own.problems)
        (folder / RECIPE).write_text(
            recipe_text(own, learned, request.settings.base), encoding="utf-8"
        )
        (folder / "README.md").write_text(card(own, learned, found, figures), encoding="utf-8")
        (folder / FINISHED).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for line in report.sentences(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return found


def check_output(output: Path) -> None:
    """Refuse an output folder that is no model of own words.

    Raises: UserError.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; give a folder with --output.")
    if any(output.iterdir()) and not _is_own(output):
        raise UserError(
            f"{output} holds something else than a model of own words; give another folder with "
            "--output."
        )


def _is_own(output: Path) -> bool:
    try:
        return OWN in json.loads((output / FINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


class _new_folder:  # noqa: N801
    """A folder beside `output` that takes its place when all went well."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._new = output.with_name(f".{output.name}.new")

    def __enter__(self) -> Path:
        try:
            shutil.rmtree(self._new, ignore_errors=True)
            self._new.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{self._output} cannot be written to ({os_reason(error)}).") from error
        return self._new

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            shutil.rmtree(self._new, ignore_errors=True)
            return
        old = self._output.with_name(f".{self._output.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self._output.exists():
            self._output.rename(old)
        self._new.rename(self._output)
        shutil.rmtree(old, ignore_errors=True)


def _introduce(own: OwnRecordings, console: Console) -> None:
    counts = ", ".join(f"{word} {len(own.of(word))}" for word in own.words)
    beside = [
        f"{len(takes)} {what}"
        for takes, what in (
            (own.near, "near-misses"),
            (own.talk, "of ordinary talk"),
            (own.room, "of the room"),
        )
        if takes
    ]
    console.print(
        f"takes: {counts}" + (f"; {', '.join(beside)}" if beside else ""), highlight=False
    )
    for problem in own.problems[:3]:
        console.print(f"note: {problem.path} {problem.reason}", highlight=False, markup=False)


def _measured(found: report.Expectation, figures: dict[str, Any]) -> dict[str, Any]:
    kept = ("date", "false_alarms", "talk_hours", "false_alarms_per_hour_expected", "words")
    return {
        "chosen_on": "takes and talk of other people, each judged by a head that did not learn "
        "from it",
        **{key: figures[key] for key in kept},
    }


__all__: Sequence[str] = ["OWN", "RECIPE", "Request", "Take", "check_output", "train_words"]
