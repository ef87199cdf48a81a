"""Recordings that are replayed, and their lines."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.making import speechlike, write_wav
from support.replaying import ROOT, Line, command, lines_of

from daemon.cli import run


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings: a.wav (16 kHz), b.wav (44.1 kHz, stereo), c.wav (8 kHz).

    The other files are broken.
    """
    folder = tmp_path_factory.mktemp("sounds")
    write_wav(folder / "a.wav", speechlike(4.5, 16000, seed=1))
    left, right = speechlike(6.0, 44100, seed=2), speechlike(6.0, 44100, seed=3)
    write_wav(folder / "b.wav", np.stack([left, right], axis=1), 44100)
    write_wav(folder / "c.wav", speechlike(5.0, 8000, seed=4), 8000)
    (folder / "text.wav").write_text("this is no sound at all, whatever its name may say")
    (folder / "empty.wav").touch()
    (folder / "folder.wav").mkdir()
    whole = (folder / "a.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but ours; the recordings in the working directory."""
    monkeypatch.chdir(sounds)
    for name in [name for name in os.environ if name.startswith("INTENTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # More threads than the machine has to spare make each other wait.
    monkeypatch.setenv("INTENTD_MODEL__THREADS", "1")


@pytest.fixture(scope="session")
def alone(
    word_model: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Line]]:
    """Lines of each recording replayed alone at full speed.

    One of them is replayed in a process.
    """
    rest = ["--speed", "max", "--model", str(word_model), "--set", "model.threads=1"]
    result = subprocess.run(
        command("replay", "a.wav", *rest, "--jsonl", "-"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=sounds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stderr) == (0, "")
    out = tmp_path_factory.mktemp("alone") / "b.jsonl"
    with contextlib.chdir(sounds):
        assert run(["replay", "b.wav", *rest, "--jsonl", str(out), "--headless"]) == 0
    return {"a.wav": lines_of(result.stdout), "b.wav": lines_of(out.read_text())}
