"""From raw recordings to the bundled model's files, at small size."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.forked import run_forked
from support.train_helpers import GLIDES, RATE, tiny_base, word

from daemon.model.description.resolve import bundled_model
from daemon.model.verifier.description import read_verifier
from train.recipe_files import load_recipe
from train.training.initial_model import build_model

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("up", "down", "left", "right", "go", "zero", "one", "five", "eight")
OTHERS = ("bed", "cat", "happy")
SEVEN = (*OTHERS, "up", "down", "left", "right")
SHORT = ("train.steps=6", "train.eval_every=3", "train.batch_size=4", "train.threads=1",
         "gate.kind=energy")  # fmt: skip


def sound(number: int) -> Any:
    return word(list(GLIDES)[number % 3], number)


def flac(number: int) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, sound(number), RATE, format="FLAC")
    return held.getvalue()


def write_parquet(path: Path, labels: tuple[str, ...], clips: int) -> None:
    """`clips` of each label as published, each by another speaker."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, ClassLabel, Features, Value

    features = Features(
        {
            "audio": Audio(sampling_rate=RATE),
            "label": ClassLabel(names=list(labels)),
            "speaker": Value("string"),
            "source": Value("string"),
        }
    )
    rows = [
        {
            "audio": {"bytes": flac(number), "path": f"{number}.flac"},
            "label": number % len(labels),
            "speaker": f"{path.parent.name}-{number}",
            "source": "any",
        }
        for number in range(clips * len(labels))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), path)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the recipes read, with a little synthetic speech."""
    root = tmp_path_factory.mktemp("data")
    write_parquet(root / "speech_commands" / "train.parquet", (*WORDS, *OTHERS), 12)
    for name in ("other_speech", "talk", "orders"):
        write_parquet(root / name / "train.parquet", ("any",), 20)
    write_parquet(root / "talk" / "calibration.parquet", ("any",), 5)
    for label in (*WORDS, "_sentences"):
        (root / "synthetic" / label).mkdir(parents=True)
        for number in range(2):
            soundfile.write(root / "synthetic" / label / f"{number}.flac", sound(number), RATE)
    (root / "noise").mkdir()
    for number, name in enumerate(("kitchen", "rain")):
        hiss = 0.02 * np.random.default_rng(number).standard_normal(5 * RATE)
        soundfile.write(root / "noise" / f"{name}.flac", hiss, RATE)
    return root


def start(recordings: Path, teacher: Path, place: Path) -> subprocess.Popen[str]:
    options = [part for setting in SHORT for part in ("--set", setting)]
    return subprocess.Popen(
        ["sh", str(ROOT / "tools" / "make_model.sh"), str(recordings), *options],
        cwd=place,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WORD_TEACHER": str(teacher),
            "VERIFIER_DRAWS": "100",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupted(process: subprocess.Popen[str], sign: Path) -> None:
    """Shut down the training once the file is there, as a machine would.

    Training then ends with status 0, but not the script.
    """
    deadline = time.monotonic() + 240
    while not sign.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in said


def test_it_goes_from_recordings_to_a_model_although_it_is_interrupted(
    recordings: Path, word_teacher: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    first = start(recordings, word_teacher, tmp_path)
    interrupted(first, runs / "commands" / "checkpoints" / "checkpoint-3")
    process = start(recordings, word_teacher, tmp_path)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said

    recipe = json.loads((runs / "commands" / "recipe.json").read_text())
    assert (recipe["train"]["steps"], recipe["gate"]["kind"]) == (6, "energy")
    labels = json.loads((runs / "commands" / "config.json").read_text())["id2label"]
    in_order = [labels[str(number)] for number in range(len(labels))]
    assert in_order == [*WORDS, "unknown", "background"]
    for name in ("model.safetensors", "calibration.json", "metrics.json", "README.md"):
        assert (runs / "commands" / name).stat().st_size > 0
    calibration = json.loads((runs / "commands" / "calibration.json").read_text())
    assert set(calibration["intentd"]["thresholds"]) == set(WORDS)
    verifier = read_verifier(runs / "commands" / "verifier")
    assert set(verifier.thresholds) == set(WORDS)
    assert verifier.measured["draws"] == 100
    # The report is of model and verifier together.
    written = (runs / "commands" / "verifier" / "verifier.json").stat().st_mtime
    assert (runs / "commands" / "metrics.json").stat().st_mtime > written

    made = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert start(recordings, word_teacher, tmp_path).wait(60) == 0  # there is nothing left to do
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == made


def test_few_clips_are_counted_with_and_without_an_encoder(
    recordings: Path, tmp_path: Path
) -> None:
    tiny_base(tmp_path / "encoder")
    short = ("train.steps=2", "train.eval_every=2", "train.batch_size=4", "train.threads=1")
    done = run_forked(
        str(ROOT / "tools" / "few_shot.py"),
        *("--root", recordings, "--encoder", tmp_path / "encoder", "--clips", 2),
        *("--json", "found.json", *(part for setting in short for part in ("--set", setting))),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["base"] for row in rows] == [str(tmp_path / "encoder"), "random weights"]
    for row in rows:
        counts = np.array(row["confusion"])
        assert (row["n"], row["hits"]) == (counts.sum(), counts.trace())
        assert {name: w["n"] for name, w in row["by_label"].items()} == dict(
            zip(row["labels"], counts.sum(axis=1), strict=True)
        )
        assert set(row["by_label"]) == set(SEVEN)
        assert [noisy["n"] for noisy in row["noise"].values()] == [row["n"]] * 2
        assert f"{row['accuracy']:.1%} of {row['n']}" in done.stdout


def test_a_model_is_measured_among_strangers(recordings: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        "commands", [f"root={recordings}", f"model.base={tiny_base(tmp_path / 'base')}"]
    )
    model, extractor = build_model(recipe, recipe.model.labels)
    for part in (model, extractor):
        part.save_pretrained(tmp_path / "model")
    done = run_forked(
        str(ROOT / "tools" / "open_world.py"),
        *(tmp_path / "model", bundled_model()),
        *("--root", recordings, "--json", "found.json", "--plot", "curve.png"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in json.loads((tmp_path / "found.json").read_text()):
        told[row["model"]][row["name"]] = row
    tiny, alone, checked = told.values()
    assert [name.endswith("with its verifier") for name in told] == [False, False, True]
    assert tiny.keys() == alone.keys() == checked.keys()
    assert alone != checked
    rows = tiny
    said = rows["words, 20 dB"]["said"]
    assert 0 < said == rows["words, 5 dB"]["said"] == rows["words, without noise"]["said"]
    assert rows["pairs, 0.05 s"]["said"] == 300
    assert rows["other words"]["said"] > 0
    talk = [row for name, row in rows.items() if name.startswith("talk/calibration.parquet: any")]
    assert [row["hours"] > 0 for row in talk] == [True]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
