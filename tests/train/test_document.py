"""docs/training.md as a newcomer follows it: recipe and commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.speech_packages import missing_synthesisers
from support.taught import Command
from support.train_helpers import RATE, word, write_words
from support.virtual_mic import VirtualMic, missing_packages

from daemon.model.description.info import read_model_info
from train.data.clips import load_clips
from train.recipe_files import load_recipe

DOCUMENT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SHORT = {"steps = 3000": "steps = 4", "batch_size = 32": "batch_size = 4"}
SHORT["eval_every = 250"] = "eval_every = 2"


def commands() -> set[str]:
    """All of the document's lines and spans that are commands of ours."""
    blocks = re.findall(r"```(?:sh)\n(.*?)```", DOCUMENT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    prose = re.sub(r"```.*?```", "", DOCUMENT, flags=re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return {
        text
        for text in (*lines, *spans)
        if re.match(r"(intentd|intentd-train|accelerate launch) ", text)
    }


TRAIN = "intentd-train mywords.toml"
LIVE = "intentd live --model runs/mywords"
SYNTHESIZE = "intentd-train synthesize mydata/synthetic lights music"
CALIBRATE = (
    "intentd-train calibrate runs/mywords mywords.toml --set calibrate.false_alarms_per_hour=5"
)
EVALUATE = (
    "intentd-train evaluate runs/mywords newpeople/ --noise kitchen.wav --snr 10 --json result.json"
)
REPORT = "intentd-train report runs/mywords mywords.toml"
MINE = "intentd-train mine runs/mywords hours-of-talk/ mydata/mined"
COMMANDS, FINETUNING = "commands/test_training_commands.py", "training/test_finetuning.py"
ELSEWHERE = {
    "intentd-train minds14": "test_minds14.py",
    "intentd-train orders --folds": COMMANDS,
    "intentd-train orders --folds --each model.windows=first,all": COMMANDS,
    "accelerate launch --multi_gpu --num_processes 2 -m train mywords.toml": FINETUNING,
    # With what `accelerate config` has written; the launcher is the same.
    "accelerate launch -m train mywords.toml": FINETUNING,
    "intentd-train teach lights music next": "../live/test_own_words.py",
    "intentd-train pretrain --set root=data": "test_make_model.py",
    "intentd-train record": "recorder/test_recorder.py",
    "intentd-train words": "words/test_words.py",
    "intentd-train words FOLDER": "words/test_words.py",
    "intentd-train words FOLDER --unit utterance": "words/test_utterances.py",
    "intentd-train FOLDER": "words/test_words.py",
}


def test_every_command_of_the_document_is_run_by_a_test() -> None:
    assert commands() == {TRAIN, LIVE, SYNTHESIZE, CALIBRATE, EVALUATE, REPORT, MINE, *ELSEWHERE}
    for file in ELSEWHERE.values():
        assert (Path(__file__).parent / file).is_file(), file


def test_every_key_that_the_document_names_is_one() -> None:
    for span in re.findall(r"`([a-z_]+\.[a-z_]+) = [^`]+`", DOCUMENT):
        section, key = span.split(".")
        names = type(getattr(load_recipe("commands"), section)).model_fields
        assert key in names, span


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the document tells a newcomer to lay out, with buzzes for words."""
    folder = tmp_path_factory.mktemp("newcomer")
    made = write_words(folder / "buzzes", ("rise", "fall", "flat"), 12)
    for label, name in (("rise", "lights"), ("fall", "music")):
        (folder / "mydata" / "words").mkdir(parents=True, exist_ok=True)
        (made / label).rename(folder / "mydata" / "words" / name)
    (folder / "mydata" / "talk").mkdir()
    (made / "flat").rename(folder / "mydata" / "talk" / "podcast")
    rng = np.random.default_rng(3)
    for file in (folder / "mydata" / "noise" / "kitchen.wav", folder / "kitchen.wav"):
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, 0.01 * rng.standard_normal(4 * RATE), RATE)
    write_words(folder / "buzzes2", ("rise", "fall"), 2)
    (folder / "newpeople").mkdir()
    (folder / "buzzes2" / "rise").rename(folder / "newpeople" / "lights")
    (folder / "buzzes2" / "fall").rename(folder / "newpeople" / "music")
    (recipe,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    for long, short in SHORT.items():
        assert long in recipe
        recipe = recipe.replace(long, short)
    tomllib.loads(recipe)
    # Hours of other people's talk are not what is tried here.
    (folder / "mywords.toml").write_text(f"world = false\n{recipe}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(desk: Path, intentd_train: Command) -> Path:
    before = Path.cwd()
    os.chdir(desk)
    try:
        assert intentd_train(*shlex.split(TRAIN)[1:]) == 0
    finally:
        os.chdir(before)
    return desk / "runs" / "mywords"


def test_the_documents_recipe_makes_a_model_and_its_report(model: Path) -> None:
    info = read_model_info(model)
    assert info.labels == ("lights", "music", "unknown", "background")
    assert info.calibrated
    for name in ("confusion", "trade_off", "reliability", "loss"):
        assert (model / "report" / f"{name}.png").is_file()
        assert f"**{name}.png**" in DOCUMENT or f"{name}.png" in DOCUMENT
    card = (model / "README.md").read_text()
    assert "Recorded by us" in card
    assert "Heard" in card


def test_the_documents_other_commands_work_on_it(
    model: Path, desk: Path, intentd_train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    assert intentd_train(*shlex.split(EVALUATE)[1:]) == 0
    found = json.loads((desk / "result.json").read_text())
    assert [row["snr_db"] for row in found["conditions"]] == [10.0]
    assert found["conditions"][0]["utterances"]["n"] == 4
    assert intentd_train(*shlex.split(CALIBRATE)[1:]) == 0
    measured = json.loads((model / "config.json").read_text())["intentd"]["measured"]
    assert measured["false_alarms_asked_per_hour"] == 5
    (model / "notes.md").write_text("Recorded in the kitchen.")
    assert intentd_train(*shlex.split(REPORT)[1:]) == 0
    assert "Recorded in the kitchen." in (model / "README.md").read_text()
    (desk / "hours-of-talk").mkdir()
    soundfile.write(desk / "hours-of-talk" / "monday.flac", word("rise", 77), RATE)
    assert intentd_train(*shlex.split(MINE)[1:], "--least", "0") == 0
    section = 'path = "mined"\nlabel = "unknown"\nplacing = "crop"\n'
    assert all(f"`{line}`" in " ".join(DOCUMENT.split()) for line in section.splitlines())
    (desk / "again.toml").write_text((desk / "mywords.toml").read_text() + "[[data]]\n" + section)
    assert {c.label for c in load_clips(load_recipe("again.toml")).clips if c.source == 2} == {
        "unknown"
    }


@pytest.mark.skipif(bool(missing_synthesisers()), reason="needs espeak-ng and flite")
def test_the_documents_synthesis_is_found_by_its_recipe(
    desk: Path, intentd_train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    prose = " ".join(DOCUMENT.split())
    section = ['path = "synthetic"', "holdout = false", 'rename = { _sentences = "unknown" }']
    assert all(f"`{line}`" in prose for line in section)
    with Path("mywords.toml").open("a") as recipe:
        recipe.write("\n".join(["[[data]]", *section]) + "\n")
    few = ["--voices", "2", "--sentences", "1"]
    assert intentd_train(*shlex.split(SYNTHESIZE)[1:], *few) == 0
    clips = load_clips(load_recipe("mywords.toml")).clips
    spoken = [(clip.label, clip.part) for clip in clips if clip.source == 2]
    assert sorted(spoken) == [(label, "train") for label in ["lights"] * 2 + ["music"] * 2] + [
        ("unknown", "train")
    ]


@pytest.mark.live
@pytest.mark.skipif(
    bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
)
def test_the_documents_model_runs_live(model: Path, desk: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with VirtualMic() as mic:
        environment = {**mic.env, "PATH": path, "HOME": str(desk), "XDG_CONFIG_HOME": str(desk)}
        process = subprocess.Popen(
            [*shlex.split(LIVE), "--jsonl", "heard.jsonl"],
            cwd=desk,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        heard = desk / "heard.jsonl"
        end = time.monotonic() + 60
        while not (heard.exists() and heard.stat().st_size) and time.monotonic() < end:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, out + errors
    first = json.loads(heard.read_text().splitlines()[0])
    assert first["type"] == "prediction"
