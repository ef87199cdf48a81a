"""Pushing to the hub: whole, and what fails is a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.fake_hub import TOKEN, FakeHub

CODE = """
from pathlib import Path
from daemon.base.errors import UserError
from train.hub import push
try:
    print(0, push(Path('.'), 'someone/model'))
except UserError as error:
    print(error.status, error)
"""
MODEL = {
    "config.json": b"{}",
    "preprocessor_config.json": b'{"sampling_rate": 16000}',
    "model.safetensors": bytes(range(256)) * 300,
    "README.md": "---\nlicense: mit\n---\n# Ünsere words\n".encode(),
    "report/loss.png": b"\x89PNG made up",
}
OWN = {
    "split.jsonl": b'{"path": "anna-01.wav"}\n',
    "recipe.json": b'{"root": "/home/anna"}',
    "checkpoints/checkpoint-9/model.safetensors": b"half way",
}


def pushed(folder: Path, **environment: str) -> str:
    """The outcome in a process: the hub's address is read on import."""
    for name, content in (MODEL | OWN).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=folder,
        # The hub's newer way of uploading needs a second, proprietary service.
        env=os.environ | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_reader_needs_is_pushed_and_nothing_else(tmp_path: Path) -> None:
    with FakeHub() as hub:
        said = pushed(tmp_path, HF_ENDPOINT=hub.address, HF_TOKEN=TOKEN)
    assert said.startswith(f"0 {hub.address}/someone/model/"), said
    assert hub.repositories == {"someone/model"}
    assert hub.files == MODEL
    assert hub.checked.encode() == MODEL["README.md"]
    assert hub.summary == "Train"


def test_a_token_that_is_refused_is_a_sentence(tmp_path: Path) -> None:
    with FakeHub() as hub:
        said = pushed(tmp_path, HF_ENDPOINT=hub.address, HF_TOKEN="hf_wrong")
    assert said.startswith("1 The model could not be pushed to someone/model (")
    assert "hf auth login" in said
    assert not hub.files


def test_an_unreachable_hub_is_a_sentence(tmp_path: Path) -> None:
    said = pushed(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith("1 The model could not be pushed to someone/model (")
    assert "complete in" in said
    assert (tmp_path / "config.json").exists()
