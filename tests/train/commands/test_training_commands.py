"""`intentd-train`'s commands on one trained model, and their figures."""

from __future__ import annotations

import json
import math
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from support.forked import Forked, run_forked
from support.taught import Command, Taught
from support.train_helpers import RATE
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from train.report.results import confusions

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def figures(
    taught: Taught, intentd_train: Command, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `evaluate` measured on the test part, without noise and in it."""
    file = tmp_path_factory.mktemp("evaluate") / "result.json"
    status = intentd_train("evaluate", taught.model, taught.recipe, "--json", file)
    assert status == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def scores_of(taught: Taught, windows: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """By transformers at config.json's temperature, (windows, labels)."""
    temperature = json.loads((taught.model / "config.json").read_text())["intentd"]["temperature"]
    model = AutoModelForAudioClassification.from_pretrained(taught.model).eval()
    extractor = AutoFeatureExtractor.from_pretrained(taught.model)
    batch = extractor(windows, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits.double().numpy() / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def replayed(taught: Taught, files: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Lines that `intentd replay` writes of each file."""
    done = run_forked(
        "daemon",
        *("replay", *files, "--model", taught.model),
        *("--speed", "max", "--jsonl", "-", "--headless"),
        env={"INTENTD_MODEL__BACKEND": "torch"},
    )
    assert done.returncode == 0, done.stderr
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        lines.setdefault(line["stream"], []).append(line)
    return lines


def check_against(
    row: dict[str, Any], scores: NDArray[np.float64], truth: list[int], intents: list[int]
) -> None:
    """Compare the figures of `row` with scores (n, labels) and labels.

    They are computed by other means than ours.
    """
    said = scores.argmax(axis=1).tolist()
    pairs = list(zip(said, truth, strict=True))
    hits = sum(s == t for s, t in pairs)
    assert row["n"] == len(pairs)
    assert row["accuracy"] == pytest.approx(hits / len(pairs))
    book = binomtest(hits, len(pairs)).proportion_ci(method="wilson")
    assert row["accuracy_interval"] == pytest.approx((book.low, book.high), abs=1e-6)
    f1 = []
    for label in sorted(set(truth)):
        both = sum(s == t == label for s, t in pairs)
        claimed, real = sum(s == label for s in said), sum(t == label for t in truth)
        f1.append(0.0 if not both else 2 / (claimed / both + real / both))
    assert row["macro_f1"] == pytest.approx(sum(f1) / len(f1))
    bins: dict[int, list[tuple[float, bool]]] = {}
    for top, (s, t) in zip(scores.max(axis=1).tolist(), pairs, strict=True):
        bins.setdefault(min(14, math.floor(top * 15)), []).append((top, s == t))
    gap = sum(abs(sum(t for t, _ in b) - sum(r for _, r in b)) for b in bins.values())
    assert row["calibration_error"] == pytest.approx(gap / len(pairs), abs=1e-4)
    mine = [(s, t) for s, t in pairs if t in intents]
    assert row["intents_n"] == len(mine)
    assert row["intents_accuracy"] == pytest.approx(sum(s == t for s, t in mine) / len(mine))
    best = scores[:, intents].argmax(axis=1).tolist()
    closed = [intents[number] == t for number, t in zip(best, truth, strict=True)]
    kept = [right for right, t in zip(closed, truth, strict=True) if t in intents]
    assert row["closed_set_accuracy"] == pytest.approx(sum(kept) / len(kept))


def test_evaluate_measures_what_transformers_and_the_daemon_say(
    taught: Taught, figures: dict[str, Any]
) -> None:
    clips, labels = taught.clips("test"), figures["labels"]
    assert len(clips) > 8
    truth = [labels.index(label) for _, label in clips]
    intents = [n for n, label in enumerate(labels) if label not in figures["non_intents"]]
    row = figures["conditions"][0]
    assert row["snr_db"] is None

    windows = []
    for file, _ in clips:
        samples = soundfile.read(file, dtype="float32")[0]
        assert len(samples) == RATE
        windows.append(samples)
    check_against(row["windows"], scores_of(taught, windows), truth, intents)

    lines = replayed(taught, [file for file, _ in clips])
    verdicts = np.zeros((len(clips), len(labels)))
    for number, (file, _) in enumerate(clips):
        (stream,) = [name for name in lines if file.stem in name]
        for said in lines[stream][-1]["top"]:
            verdicts[number, labels.index(said["intent"])] = said["score"]
    check_against(row["utterances"], verdicts, truth, intents)
    table = np.zeros((len(labels), len(labels)), int)
    for said, t in zip(verdicts.argmax(axis=1), truth, strict=True):
        table[t, said] += 1
    assert figures["confusion"] == table.tolist()
    for number, label in enumerate(labels):
        row_of = row["utterances_by_label"][label]
        assert row_of["n"] == truth.count(number)
        assert row_of["accuracy"] == pytest.approx(table[number, number] / truth.count(number))
    # Training wrote the same figures beside the model.
    assert taught.figures()["conditions"][0] == row


def test_evaluate_shows_a_table_of_what_it_writes(
    taught: Taught,
    intentd_train: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    arguments = ["--noise", taught.noise, "--snr", "12", "--snr", "6", "--per-label", "3"]
    outputs = ["--json", tmp_path / "r.json", "--plots", tmp_path / "plots"]
    status = intentd_train("evaluate", taught.model, taught.recipe, *arguments, *outputs)
    assert status == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert [row["snr_db"] for row in found["conditions"]] == [12.0, 6.0]
    labels = [label for _, label in taught.clips("test")]
    spoken = min(3, labels.count("rise")) + min(3, labels.count("fall"))
    lines = [[cell.strip() for cell in x.split("│")[1:-1]] for x in shown.splitlines()]
    rows = {cells[0]: number for number, cells in enumerate(lines) if cells}
    assert max(map(len, shown.splitlines())) <= 80  # nothing is cut off in a pipe
    for column, row in enumerate(found["conditions"], 1):
        said, stream = row["utterances"], row["stream"]
        low, high = said["accuracy_interval"]
        at = rows["recordings"]
        three = [lines[number][column] for number in range(at, at + 3)]
        assert three == [f"{said['accuracy']:.1%}", f"[{low:.0%}, {high:.0%}]", f"N={said['n']}"]
        assert lines[rows["macro-F1"]][column] == f"{said['macro_f1']:.3f}"
        assert lines[rows["heard"]][column] == f"{stream['hits']} of {stream['said']}"
        alarms = f"{stream['false_alarms_per_hour']:.1f}"
        assert lines[rows["an hour"]][column] == alarms
        assert stream["said"] == spoken
    free = found["command_free"]
    assert free["hours"] > 0
    assert f"{free['false_alarms']} false alarms in {free['hours']:.2f} h" in shown
    for label, row in found["conditions"][0]["utterances_by_label"].items():
        assert any(label in x and f"{row['accuracy']:.1%}" in x for x in shown.splitlines())
    for picture in ("confusion", "reliability", "noise"):
        assert (tmp_path / "plots" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_noise_makes_it_worse_and_is_the_same_each_time(
    taught: Taught, intentd_train: Command, tmp_path: Path
) -> None:
    found = []
    for name in ("one.json", "two.json"):
        arguments = ["--noise", taught.noise, "--snr", "24", "--snr", "-20", "--part", "all"]
        intentd_train(
            "evaluate", taught.model, taught.recipe, *arguments, "--json", tmp_path / name
        )
        found.append(json.loads((tmp_path / name).read_text()))
    assert found[0] == found[1]
    quiet, loud = (row["utterances"]["accuracy"] for row in found[0]["conditions"])
    assert quiet > loud + 0.2


def test_another_backend_can_be_evaluated(
    taught: Taught, intentd_train: Command, tmp_path: Path
) -> None:
    def measured(backend: str) -> dict[str, Any]:
        file = tmp_path / f"{backend}.json"
        arguments = ["evaluate", taught.model, taught.folder / "words", "--json", file]
        assert intentd_train(*arguments, "--backend", backend) == 0
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    plain, rounded = measured("torch"), measured("onnx-int8")
    assert (plain["backend"], rounded["backend"]) == ("torch fp32 cpu", "onnxruntime int8 cpu")
    first, second = (row["conditions"][0]["windows"] for row in (plain, rounded))
    assert abs(first["accuracy"] - second["accuracy"]) < 0.1
    assert first["calibration_error"] != second["calibration_error"]


def test_a_folder_can_be_evaluated_without_a_recipe(
    taught: Taught, intentd_train: Command, tmp_path: Path
) -> None:
    status = intentd_train(
        "evaluate", taught.model, taught.folder / "words", "--json", tmp_path / "r.json"
    )
    assert status == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["part"] == "all"
    assert found["conditions"][0]["utterances"]["n"] == 60


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--part", "test"), "a folder has no parts"),
        (("--part", "tset"), "--part is one of"),
        (("--spacing", "0"), "--spacing must be above 0"),
        (("--noise", "nowhere.wav"), "nowhere.wav does not exist"),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence(
    taught: Taught,
    intentd_train: Command,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, str],
    said: str,
) -> None:
    assert intentd_train("evaluate", taught.model, taught.folder / "words", *option) == 2
    assert said in capsys.readouterr().err


def test_report_measures_again_and_writes_the_card_again(
    taught: Taught, intentd_train: Command, tmp_path: Path
) -> None:
    model = shutil.copytree(taught.model, tmp_path / "model")
    before = taught.figures()
    for name in ("README.md", "metrics.json"):
        (model / name).unlink()
    shutil.rmtree(model / "report")
    (model / "notes.md").write_text("What only its maker knows.\n")
    assert intentd_train("report", model, taught.recipe) == 0
    after = json.loads((model / "metrics.json").read_text())
    for key in ("conditions", "command_free", "confusion", "clips", "part"):
        assert after[key] == before[key]
    card = (model / "README.md").read_text()
    (clean,) = (row for row in before["conditions"] if row["snr_db"] is None)
    for label, row in clean["utterances_by_label"].items():
        low, high = row["interval"]
        line = f"| {label} | {row['n']} | {row['accuracy']:.0%} ({low:.0%} to {high:.0%}) |"
        assert line in card
    for label, row in clean["stream"]["by_label"].items():
        assert f"| {label} | {row['said']} | {row['hits']}" in card
    trained = json.loads((model / "history.json").read_text())
    for kept in (trained["command"], trained["date"], f"{trained['seconds'] / 60:.0f} minutes"):
        assert kept in card  # how it was trained, not how it was measured again
    assert "What only its maker knows." in card
    accuracy = before["conditions"][0]["utterances"]["accuracy"]
    assert f"{accuracy:.1%}" in card
    for picture in ("confusion", "reliability", "noise", "loss", "trade_off"):
        assert (model / "report" / f"{picture}.png").is_file()
        assert f"report/{picture}.png" in card


def test_the_most_frequent_mistakes_are_named_first() -> None:
    counts = [[5, 1, 0, 0], [0, 4, 3, 0], [2, 0, 6, 9], [0, 0, 9, 1]]
    others = ("unknown", "background")
    assert confusions(["up", "down", *others], counts, others) == [
        "down for unknown 3 of 7", "unknown for up 2 of 17", "up for down 1 of 6",
    ]  # fmt: skip


def test_calibrate_chooses_thresholds_again(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(taught.model, tmp_path / "model")
    weights = (model / "model.safetensors").read_bytes()
    capsys.readouterr()
    narrow = "calibrate.threshold=[0.91,0.95]"
    assert intentd_train("calibrate", model, taught.recipe, "--set", narrow) == 0
    said = json.loads(capsys.readouterr().out)
    kept = json.loads((model / "config.json").read_text())["intentd"]
    assert kept == said
    assert all(0.91 <= value <= 0.95 for value in kept["thresholds"].values())
    old = json.loads((taught.model / "config.json").read_text())["intentd"]
    assert kept["temperature"] == pytest.approx(old["temperature"])
    assert (model / "model.safetensors").read_bytes() == weights


def test_a_calibration_that_is_stopped_goes_on(taught: Taught, tmp_path: Path) -> None:
    """Stopping the training of its models is no defect."""
    model = shutil.copytree(taught.model, tmp_path / "model")
    settings = ("calibrate.cross_fit=2", "train.steps=100000", "train.eval_every=20")
    options = [part for setting in settings for part in ("--set", setting)]
    process = Forked("train", "calibrate", model, taught.recipe, *options)
    deadline = time.monotonic() + 120
    while not (model / "cross-fit" / "0" / "checkpoints" / "checkpoint-20").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    done = process.wait(120)
    assert done.returncode == 130, done.stderr
    assert "the same command goes on from there" in done.stderr and "Traceback" not in done.stderr


def test_folds_test_every_recording_once_with_each_setting(
    taught: Taught, intentd_train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folds"
    arguments = [taught.recipe, "--folds", "--output", output]
    arguments += ["--each", "train.learning_rate=1e-9,3e-3", "--set", "train.steps=40"]
    arguments += ["--set", "train.eval_every=40", "--set", "split.buckets=2"]
    arguments += ["--set", "split.test=[0]", "--set", "split.validation=[1]"]
    assert intentd_train(*arguments) == 0
    shown = capsys.readouterr().out
    compared = json.loads((output / "comparison.json").read_text())
    assert list(compared) == ["1e-9", "3e-3"]
    stamps = {}
    for name, found in compared.items():
        folder = output / name
        assert found == json.loads((folder / "folds.json").read_text())
        rows = [json.loads((folder / f"fold-{n}" / "metrics.json").read_text()) for n in range(2)]
        said = [row["conditions"][0]["utterances"] for row in rows]
        hits = sum(round(row["accuracy"] * row["n"]) for row in said)
        assert found["n"] == 60 == sum(row["n"] for row in said)
        assert found["accuracy"] == pytest.approx(hits / 60)
        book = binomtest(hits, 60).proportion_ci(method="wilson")
        assert found["accuracy_interval"] == pytest.approx((book.low, book.high), abs=1e-6)
        assert f"{hits / 60:.1%} of 60 recordings" in shown
        (line,) = [x for x in shown.splitlines() if x.split()[1:2] == [name]]
        assert f"{hits / 60:.1%}" in line
        tested: list[str] = []
        for fold in range(2):
            lines = [json.loads(x) for x in (folder / f"fold-{fold}" / "split.jsonl").open()]
            tested += [row["path"] for row in lines if row["part"] == "test"]
            recipe = json.loads((folder / f"fold-{fold}" / "recipe.json").read_text())
            assert recipe["train"]["learning_rate"] == float(name)
        assert len(tested) == len(set(tested)) == 60
        stamps[name] = (folder / "fold-1" / "metrics.json").stat().st_mtime_ns
    assert compared["3e-3"]["accuracy"] > compared["1e-9"]["accuracy"]
    # Finished folds are not trained again.
    assert intentd_train(*arguments, "--resume") == 0
    for name, stamp in stamps.items():
        assert (output / name / "fold-1" / "metrics.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("setting", ["model.windows", "model.windows=all", "data.0.path=a/b,c/d"])
def test_what_cannot_be_compared_is_a_sentence(
    taught: Taught, intentd_train: Command, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert intentd_train(taught.recipe, "--folds", "--each", setting) == 2
    assert "is not of the form" in capsys.readouterr().err
