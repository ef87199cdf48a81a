"""README's "Privacy": nothing is looked up, no identifier is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.making import write_wav
from support.train_helpers import write_minds14

TOLD = {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "HF_UPDATE_DOWNLOAD_COUNTS"}
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"

LIBRARY = """
import sys
from daemon.model.classifier import load_classifier
import numpy as np
load_classifier(sys.argv[1], threads=1, backend=sys.argv[2]).logits(np.zeros((1, 16000), "f4"))
"""
TRAINING = """
import sys
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect"):
        print(event, arguments)
sys.addaudithook(watch)
from pathlib import Path
from train.recipe import DataSection
from train.data.sources import rows_of
table = Path(sys.argv[1])
print(len(list(rows_of(DataSection(path=str(table), label_column="intent_class"), table))))
"""


def run(tmp_path: Path, *arguments: str) -> str:
    """Standard output of a process on a new machine that may ask the hub."""
    environ = {key: value for key, value in os.environ.items() if key not in TOLD}
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environ[name] = str(tmp_path / "home" / name)
        Path(environ[name]).mkdir(parents=True)
    watched, trace = list(arguments), tmp_path / "trace"
    if strace := shutil.which("strace"):
        watched = [strace, "-f", "-qq", "-e", CALLS, "-o", str(trace), *watched]
    done = subprocess.run(
        watched,
        env=environ | {"HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    asked = trace.read_text().splitlines() if strace else []
    assert [line for line in asked if "AF_INET" in line] == []
    left = {path.name for path in (tmp_path / "home").glob("*/*")}
    assert left <= {"intentd", "huggingface", ".cache"}, left
    return done.stdout


@pytest.mark.parametrize("backend", ["auto", "onnx-int8"])
def test_a_run_looks_nothing_up(tmp_path: Path, plain_model: Path, backend: str) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(48000)
    wav = write_wav(tmp_path / "a.wav", sound.astype(np.float32))
    run(
        tmp_path, sys.executable, "-m", "daemon", "replay", str(wav), "--speed", "max",
        "--headless", "--model", str(plain_model), "--set", f"model.backend={backend}",
    )  # fmt: skip


def test_neither_does_a_program_that_uses_the_classifier(tmp_path: Path, plain_model: Path) -> None:
    run(tmp_path, sys.executable, "-c", LIBRARY, str(plain_model), "onnx")


def test_nor_training_on_a_table_of_this_machine(tmp_path: Path) -> None:
    table = tmp_path / "own.parquet"
    sound = write_wav(tmp_path / "a.wav", np.zeros(1600, np.float32))
    write_minds14(table, [(0, sound.read_bytes())])
    assert run(tmp_path, sys.executable, "-c", TRAINING, str(table)) == "1\n"
