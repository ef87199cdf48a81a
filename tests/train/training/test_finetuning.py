"""Whole runs at tiny size: the daemon detects what was taught."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file
from support.forked import run_forked
from support.real_words import WORDS, clear_words
from support.train_helpers import (
    RATE,
    recipe_tree,
    run_of,
    tiny_base,
    word,
    write_words,
)

from daemon.base.errors import UserError
from daemon.model.description.info import read_model_info
from daemon.windowing import high_passed
from train import pipeline as steps
from train.distributed import left_alone
from train.examples.words import WordDraws
from train.recipe import Recipe
from train.training.finetune import StoppedError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    write_words(folder / "words", ("rise", "fall", "flat"), 10)
    tiny_base(folder / "base")
    return folder


def eight_of(folder: Path, words: dict[str, list[np.ndarray]], count: int) -> dict[str, Any]:
    """A recipe that overfits eight recordings.

    The same are trained on and validated on, there a little softer, since a copy is kept out of
    a second part.
    """
    for name, gain in (("eight", 1.0), ("softer", 0.9)):
        for label, sounds in words.items():
            (folder / name / label).mkdir(parents=True)
            for number, sound in enumerate(sounds):
                soundfile.write(folder / name / label / f"{number}.wav", gain * sound, RATE)
    tiny_base(folder / "base")
    tree = recipe_tree(
        folder / "eight",
        folder / "base",
        steps=count,
        batch_size=16,
        learning_rate=5e-3,
        eval_every=count // 2,
    )
    labels = [*words, "background"]
    tree["model"] |= {"labels": labels, "non_intents": ["background"]}
    tree["data"] = [
        {"path": "eight", "placing": "word", "holdout": False},
        {"path": "softer", "placing": "word"},
    ]
    tree["split"] = {"buckets": 2, "test": [0], "validation": [1]}
    tree["augment"] |= {
        "background_probability": 0.15,
        "floor_db": [-80.0, -50.0],
        "cut_probability": 0.2,
        "cut_label": "background",
    }
    tree["gate"] = {"kind": "off"}
    tree["calibrate"] |= {"rolling_windows": [2], "per_label": 4, "threshold": [0.3, 0.7]}
    return tree


def replayed(
    model: Path, sound: Path, **environment: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and events of `intentd replay`."""
    done = run_forked(
        "daemon",
        *("replay", sound, "--model", model, "--speed", "max", "--jsonl", "-", "--headless"),
        env={"INTENTD_MODEL__BACKEND": "torch"} | environment,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return (
        [line for line in lines if line["type"] == "prediction"],
        [line for line in lines if line["type"] == "event"],
    )


def overfit_and_listen(folder: Path, words: dict[str, list[np.ndarray]], count: int) -> None:
    tree = eight_of(folder, words, count)
    run = run_of(tree, folder / "model")
    steps.train(run)
    pieces, truth, at = [np.zeros(RATE, np.float32)], [], RATE
    for number in range(4):
        for label, sounds in words.items():
            truth.append((label, at / RATE, (at + len(sounds[number])) / RATE))
            pieces += [sounds[number], np.zeros(3 * RATE // 2, np.float32)]
            at += len(sounds[number]) + 3 * RATE // 2
    words_only = np.concatenate(pieces)
    stream = words_only + 1e-3 * np.random.default_rng(0).standard_normal(len(words_only))
    sound = folder / "stream.wav"
    soundfile.write(sound, stream, RATE)
    _, events = replayed(folder / "model", sound)
    heard = [
        label
        for label, start, end in truth
        if any(e["intent"] == label and e["start"] < end and e["end"] > start for e in events)
    ]
    assert heard == [label for label, _, _ in truth]
    assert len(events) == len(truth), [(e["intent"], e["start"], e["score"]) for e in events]


def test_trainer_and_daemon_give_a_recording_the_same_scores(
    plain_model: Path, tmp_path: Path
) -> None:
    """At temperature 1, to 1e-4: the trainer against `intentd replay`."""
    import torch

    from train.examples.words import WindowCollator
    from train.training.initial_model import build_model

    samples = np.concatenate([word("rise", 1), word("fall", 2), word("flat", 3)])
    soundfile.write(tmp_path / "s.wav", samples, RATE, subtype="FLOAT")
    info = read_model_info(plain_model)
    assert info.temperature == 1.0
    tree = recipe_tree(tmp_path / "none", plain_model)
    tree["model"] |= {"labels": list(info.labels), "non_intents": []}
    model, extractor = build_model(Recipe.model_validate(tree), info.labels)
    scored, _ = replayed(plain_model, tmp_path / "s.wav", INTENTD_GATE__KIND="off")
    assert len(scored) == 13
    windows = np.zeros((len(scored), RATE), np.float32)
    for row, line in zip(windows, scored, strict=True):
        piece = high_passed(samples)[round(line["start"] * RATE) :][:RATE]
        row[: len(piece)] = piece
    batch = WindowCollator(extractor)([{"window": row, "labels": 0} for row in windows])
    with torch.inference_mode():
        logits = model.eval()(input_values=batch["input_values"]).logits.double()
    said = np.array([[line["scores"][label] for label in info.labels] for line in scored])
    np.testing.assert_allclose(said, torch.softmax(logits, -1).numpy(), atol=1e-4)


@pytest.mark.skipif(WORDS.is_file(), reason="the eight real words show as much")
def test_eight_made_up_words_are_learnt_and_detected_by_the_daemon(tmp_path: Path) -> None:
    overfit_and_listen(
        tmp_path, {label: [word(label, n) for n in range(4)] for label in ("rise", "fall")}, 120
    )


@pytest.mark.skipif(not WORDS.is_file(), reason="needs ../shared/data/speech_commands")
def test_eight_real_words_are_learnt_and_detected_by_the_daemon(tmp_path: Path) -> None:
    overfit_and_listen(tmp_path, {name: clear_words(4, [name]) for name in ("left", "zero")}, 300)


def test_an_interrupted_run_ends_as_an_unbroken_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = recipe_tree(place / "words", place / "base", steps=14, eval_every=6, average=0.8)
    tree["train"]["batch_size"] = 8
    tree["augment"] |= {"mask_time_prob": 0.2, "mask_time_length": 2}
    whole = run_of(tree, tmp_path / "whole")
    expected = steps.train(whole)

    drawn = 0
    draw = WordDraws.__getitem__

    def interrupted(self: WordDraws, index: int) -> Any:
        nonlocal drawn
        drawn += 1
        if drawn == 70:
            signal.raise_signal(signal.SIGINT)
        return draw(self, index)

    monkeypatch.setattr(WordDraws, "__getitem__", interrupted)
    broken = run_of(tree, tmp_path / "broken")
    with pytest.raises(StoppedError) as stop:
        steps.train(broken)
    assert stop.value.number == signal.SIGINT
    assert 6 < stop.value.step < 12
    checkpoints = tmp_path / "broken" / "checkpoints"
    assert (checkpoints / f"checkpoint-{stop.value.step}" / "whole").is_file()
    # A checkpoint that a full disk or kill -9 cut short is passed over.
    half = checkpoints / "checkpoint-13"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    with pytest.raises(UserError, match="--resume goes on"):
        steps.train(broken)
    other = dict(tree, train={**tree["train"], "learning_rate": 1e-4})
    with pytest.raises(UserError, match=r"train.learning_rate was .* and is 0.0001\. "):
        steps.train(run_of(other, tmp_path / "broken", resume=True))
    result = steps.train(replace(broken, resume=True))
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken")]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])
    assert result["conditions"] == expected["conditions"]

    with pytest.raises(UserError, match="holds a finished model; --force"):
        steps.train(replace(broken, resume=True))


def test_a_mistake_in_the_data_costs_nothing(place: Path, tmp_path: Path) -> None:
    """The model to be replaced stays, and no folder is begun."""
    tree = recipe_tree(place / "words", place / "base", steps=2, eval_every=2)
    wrong = dict(tree, data=[{"path": str(place / "wrods")}])
    empty = dict(tree, model={**tree["model"], "labels": ["rise", "fall", "flat", "nod"]})
    out = tmp_path / "out"
    for bad in (wrong, empty):
        with pytest.raises(UserError):
            steps.train(run_of(bad, out))
        assert not (out / "recipe.json").exists()
    damaged = Path(shutil.copytree(place / "words", tmp_path / "words")) / "rise" / "damaged.wav"
    damaged.write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"problems\.jsonl lists them all"):
        fatal = {"problems": "fatal", "data": [{"path": str(tmp_path / "words")}]}
        steps.train(run_of(tree | fatal, out))
    assert (out / "problems.jsonl").is_file()
    steps.train(run_of(tree, out))
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for bad in (wrong, empty):
        with pytest.raises(UserError):
            steps.train(run_of(bad, out, force=True))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == made
    steps.train(run_of(tree, out, force=True))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} != made


def test_a_folder_of_someone_elses_is_left_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    tree = recipe_tree(place / "words", place / "base")
    for force in (False, True):
        with pytest.raises(UserError, match=r"not empty|left alone"):
            steps.train(run_of(tree, tmp_path / "out", force=force))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_the_report_and_the_key_are_complete(place: Path, tmp_path: Path) -> None:
    tree = recipe_tree(place / "words", place / "base", steps=4, eval_every=2)
    tree["data"][0]["attribution"] = "Buzzes by nobody, CC0"
    figures = steps.train(run_of(tree, tmp_path / "out"))
    out = tmp_path / "out"
    info = read_model_info(out)
    assert info.calibrated
    assert info.non_intents == {"flat"}
    assert set(info.calibration.thresholds) == {"rise", "fall"}
    assert info.calibration.measured["command_free_hours"] > 0
    assert info.calibration.gate["kind"] == "energy"
    card = (out / "README.md").read_text()
    for needed in (
        "Buzzes by nobody, CC0",
        "`intentd-train tiny.toml`",
        "seed 0",
        "torch 2",
        "95 %",
        "should not be used for",
        "split by clip",
    ):
        assert needed in card
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(figures))
    history = json.loads((out / "history.json").read_text())
    assert history["steps"] == 4
    assert 0 < 4 * history["seconds_per_step"] < history["seconds"]
    assert 0.1 < history["peak_memory_gib"] < 24
    assert f"{history['peak_memory_gib']:.1f} GiB of memory" in card
    for picture in ("confusion", "reliability", "noise", "loss", "trade_off"):
        assert f"report/{picture}.png" in card
        assert (out / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "split.jsonl").read_text().splitlines()) == 30


def test_a_launcher_that_starts_one_process_of_many_is_reported_of() -> None:
    """What `accelerate launch --cpu` sets, and launchers that work."""
    one = {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}
    assert "--multi_gpu --num_processes" in str(left_alone(one))
    assert left_alone(one | {"LOCAL_RANK": "0"}) is None
    assert left_alone(one | {"PMI_SIZE": "2"}) is None
    assert left_alone({}) is None
