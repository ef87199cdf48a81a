"""The model card and the plots beside a model."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from daemon.base.text import markdown_code, markdown_text
from daemon.base.text_files import read_text, write_text
from daemon.model.verifier.description import FOLDER, VerifierInfo, read_verifier
from train.evaluation.evaluate import Evaluation
from train.recipe import Recipe
from train.report import plots, results
from train.report.attempt import attempt
from train.run_folder import read_object

PICTURES = "report"
NOTES = "notes.md"
"""A file beside the model that goes into its card word by word."""


def write(
    output: Path,
    recipe: Recipe,
    found: Evaluation,
    figures: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Write README.md (the model card) and the pictures into `output`.

    A picture or card that can't be made is left out, and `say` is called with a sentence.
    """
    folder = output / PICTURES
    attempt(f"the folder {folder}", lambda: folder.mkdir(exist_ok=True), say)
    history = read_object(output / "history.json") or _checkpoint_history(output)
    calibration = read_object(output / "calibration.json") or {}
    drawings: dict[str, Callable[[Path], None]] = {
        "confusion": lambda path: plots.confusion(path, found),
        "reliability": lambda path: plots.reliability(path, found),
        "noise": lambda path: plots.noise(path, found),
    }
    if history.get("log"):
        drawings["loss"] = lambda path: plots.loss(path, history["log"])
    measured = calibration.get("intentd", {}).get("measured", {})
    if calibration.get("curve") and measured.get("words") and measured.get("command_free_hours"):
        chosen = measured["false_alarms_per_hour"], 1 - measured["hits"] / measured["words"]
        drawings["trade_off"] = lambda path: plots.trade_off(path, calibration["curve"], chosen)
    pictures = []
    for name, draw in drawings.items():
        path = folder / f"{name}.png"
        if attempt(f"{PICTURES}/{name}.png", functools.partial(draw, path), say):
            pictures.append(name)
    notes = _notes(output / NOTES, say)

    def write_card() -> None:
        verifier = read_verifier(output / FOLDER) if (output / FOLDER).is_dir() else None
        text = card(
            recipe, figures, calibration.get("intentd", {}), history, pictures, notes, verifier
        )
        write_text(output / "README.md", text)

    attempt("README.md, the model card,", write_card, say)


def card(
    recipe: Recipe,
    figures: dict[str, Any],
    calibration: dict[str, Any],
    history: dict[str, Any],
    pictures: list[str],
    notes: str = "",
    verifier: VerifierInfo | None = None,
) -> str:
    """The model card, Markdown with a header that the hub reads.

    `notes` are its maker's.
    """
    sections = [
        _header(recipe, figures),
        _what(recipe, figures),
        _data(recipe, figures),
        _training(recipe, figures, history),
        *([notes] if notes else []),
        results.metrics(recipe, figures),
        results.by_label(figures),
        results.calibration(recipe, calibration, verifier),
        LIMITS.format(non_intents=_list(recipe.model.non_intents) or "none"),
        "## Pictures\n\n" + "\n".join(f"![{p}]({PICTURES}/{p}.png)" for p in pictures) + "\n",
    ]
    return "\n".join(sections)


LIMITS = """## What it should not be used for

- Anything where a command that is missed or heard by mistake does harm: brakes, doors, machines,
  emergencies. See the misses and false alarms above.
- Deciding who speaks, or anything about a speaker. It was made to tell intents apart, no more.
- Other languages, other words, children's voices, or distant microphones, unless you have measured
  it there. Recordings of a set share microphones and manners; a real room may be harder.
- Labels that are not intents ({non_intents}) are there to be told from intents; their own scores
  mean little.
"""


def _header(recipe: Recipe, figures: dict[str, Any]) -> str:
    accuracy = figures["conditions"][0]["utterances"].get("accuracy")
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: audio-classification",
        f"license: {_yaml(recipe.model.license)}",
        "tags: [intentd, wav2vec2, keyword-spotting, spoken-intent]",
        "metrics: [accuracy, f1]",
    ]
    if accuracy is not None:
        lines += [
            "model-index:",
            f"- name: {_yaml(recipe.name)}",
            "  results:",
            "  - task: {type: audio-classification}",
            f"    dataset: {{name: {_yaml(recipe.name)}, type: custom, split: {figures['part']}}}",
            f"    metrics: [{{type: accuracy, value: {accuracy:.4f}}}]",
        ]
    return "\n".join([*lines, "---", ""])


def _yaml(text: str) -> str:
    """`text` as a value of YAML: bare where it is a plain word."""
    plain = text.replace("-", "").replace(".", "").isalnum() and text.isascii()
    return text if plain and not text[:1].isdigit() else json.dumps(text, ensure_ascii=False)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(markdown_text, names))


def _what(recipe: Recipe, figures: dict[str, Any]) -> str:
    unit = (
        f"A word fits in one window of {recipe.model.window:g} s"
        if recipe.model.unit == "word"
        else f"Windows of {recipe.model.window:g} s of one utterance are evidence together"
    )
    base = {
        "small": "random weights of a small Wav2Vec2",
        "words": "the encoder of spoken words that ships with intentd",
    }.get(recipe.model.base)
    base = base or markdown_text(recipe.model.base)
    return (
        f"# {markdown_text(recipe.name)}\n\n{recipe.description or 'Spoken intents.'}\n\n"
        f"A Wav2Vec2-style audio classifier for [intentd]; it began from {base}. {unit}, one every "
        f"{recipe.model.hop:g} s, mono at 16 kHz.\n\n"
        f"Labels: {_list(figures['labels'])}. "
        + (
            f"Not intents: {_list(figures['non_intents'])}."
            if figures["non_intents"]
            else "All are intents."
        )
        + "\n\n```sh\nintentd replay --model DIRECTORY RECORDING.wav\n```\n\n"
        "[intentd]: a daemon that hears spoken intents on your own machine\n"
    )


def _data(recipe: Recipe, figures: dict[str, Any]) -> str:
    lines = ["## Data\n"]
    for section in recipe.data:
        source = f"{markdown_text(section.path)} (no attribution given)"
        lines.append(f"- {section.attribution or source}")
    if recipe.augment.noise:
        noise = f"noise: {markdown_text(recipe.augment.noise)}"
        lines.append(f"- {recipe.augment.attribution or noise}")
    lines += ["", "| label | training | validation | test |", "|---|---:|---:|---:|"]
    for label, row in figures["clips"].items():
        lines.append(
            f"| {markdown_text(label)} | {row['train']} | {row['validation']} | {row['test']} |"
        )
    split = recipe.split
    if split.test_size is not None:
        how = f"train_test_split with test_size {split.test_size:g}, stratified by label"
    elif split.fold is not None:
        how = f"SHA-1 of speaker or path modulo {split.buckets}: {split.fold} is the test part"
    else:
        how = (
            f"SHA-1 of the speaker (or of the path, where the speaker is unknown) modulo "
            f"{split.buckets}: {', '.join(map(str, split.test))} test, "
            f"{', '.join(map(str, split.validation))} validation, the rest training"
        )
    lines += ["", f"Split: {how}. The run's split.jsonl lists every clip."]
    for source, number in figures["unknown_speakers"].items():
        lines.append(
            f"Of {markdown_text(source)} the speakers of {number} clips are unknown; these are "
            "split by clip, so a voice may be in several parts."
        )
    lines.append(f"{figures['problems']} recordings were left out (problems.jsonl).")
    if notes := figures.get("notes"):
        lines += ["", *(f"- {markdown_text(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _training(recipe: Recipe, figures: dict[str, Any], history: dict[str, Any]) -> str:
    t = recipe.train
    length = f"{t.steps} steps" if t.steps else f"{t.epochs:g} epochs"
    versions = ", ".join(
        f"{name} {value}" for name, value in history.get("versions", figures["versions"]).items()
    )
    took = ""
    if history.get("seconds"):
        took = f" It took {history['seconds'] / 60:.0f} minutes"
        if history.get("seconds_per_step"):
            took += f", {history['seconds_per_step']:.2g} s a step"
        if history.get("peak_memory_gib"):
            took += f" and {history['peak_memory_gib']:.1f} GiB of memory at most"
        took += f", on {history['processes']} × {history['device']}."
    taught = ""
    if recipe.teach is not None:
        taught = (
            " Soft labels came from linear layers on the vectors of "
            f"{markdown_text(recipe.teach.teacher)} that were trained on the same labels "
            "(train/distillation/soft_labels.py); nothing of them is in the model."
        )
    return (
        "## Training\n\n"
        f"{markdown_code(history.get('command', figures['command']))}, "
        f"{history.get('date', figures['date'])}, seed {figures['seed']}: {length} of "
        f"{t.batch_size * t.gradient_accumulation}, AdamW, learning rate {t.learning_rate:g}, "
        f"{t.schedule} schedule with {t.warmup:.0%} warm-up"
        + (f", weights averaged with decay {t.average:g}" if t.average else "")
        + f".{taught}{took} The run's recipe.json has every setting.\n\nVersions: {versions}.\n"
    )


def _checkpoint_history(output: Path) -> dict[str, Any]:
    states = list(output.glob("checkpoints/checkpoint-*/trainer_state.json"))
    if not states:
        return {}
    state = read_object(max(states, key=lambda path: path.stat().st_mtime)) or {}
    return {"log": state.get("log_history", [])}


def _notes(path: Path, say: Callable[[str], None]) -> str:
    """The notes of the model's maker; "" if there are none."""
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        say(f"{path} can't be read ({error}) and is not in the model card")
        return ""
