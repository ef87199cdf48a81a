"""Runs that end badly: damaged checkpoints, full disks, no memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.forked import run_forked
from support.train_helpers import ROOT, recipe_tree, run_of, tiny_base, write_recipe, write_words

from daemon.base.errors import UserError
from daemon.base.resources import disk_full, out_of_memory, resource_sentence
from train import pipeline as steps
from train.training.checkpoints import checked_checkpoint, damage, save_whole, seal


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def garble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_words(folder / "words", ("rise", "fall", "flat"), 10)
    tiny_base(folder / "base")
    return folder


@pytest.fixture(scope="module")
def stopped(place: Path) -> Path:
    """A run with checkpoints of steps 2, 4 and 6, the last, and no model yet."""
    tree = recipe_tree(place / "words", place / "base", steps=6, eval_every=2)
    run = run_of(tree, place / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_save", lambda *_: sys.exit(9))
        with pytest.raises(SystemExit):
            steps.train(run)
    return place / "run"


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model.safetensors", empty),
        ("model.safetensors", garble),
        ("optimizer.pt", empty),
        ("optimizer.pt", cut),
        ("scheduler.pt", garble),
        ("rng_state.pth", empty),
        ("trainer_state.json", cut),
        ("training_args.bin", empty),
        ("whole", garble),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(
    stopped: Path, tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(stopped / "checkpoints", tmp_path / "checkpoints"))
    harm(folder / "checkpoint-6" / name)
    said: list[str] = []
    assert checked_checkpoint(folder, said.append) == folder / "checkpoint-4"
    assert said[0].startswith("checkpoint-6 is passed over, since ")
    assert name in said[0]
    assert said[1] == "Training goes on from checkpoint-4."
    assert (folder / "damaged-6").is_dir()


def test_a_checkpoint_without_sums_is_checked_by_its_structure(
    stopped: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stopped / "checkpoints", tmp_path / "checkpoints"))
    checkpoint = folder / "checkpoint-6"
    (checkpoint / "whole").write_text("12.5")
    assert damage(checkpoint) == ""
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
        content = (checkpoint / name).read_bytes()
        cut(checkpoint / name)
        assert name in damage(checkpoint)
        (checkpoint / name).write_bytes(content)


def test_a_run_goes_on_without_its_last_checkpoint_and_its_recipe(
    place: Path, stopped: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    empty(out / "checkpoints" / "checkpoint-6" / "optimizer.pt")
    cut(out / "recipe.json")
    tree = recipe_tree(place / "words", place / "base", steps=6, eval_every=2)
    run = run_of(tree, out, resume=True)
    figures = steps.train(run)
    assert json.loads((out / "metrics.json").read_text())["labels"] == figures["labels"]
    assert json.loads((out / "recipe.json").read_text())["name"] == "tiny"
    shown = run.console.file.getvalue()  # type: ignore[attr-defined]
    assert "recipe.json is damaged" in shown
    assert "Training goes on from checkpoint-4." in shown


def test_with_no_checkpoint_left_training_starts_from_the_beginning(
    stopped: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stopped / "checkpoints", tmp_path / "checkpoints"))
    for checkpoint in folder.iterdir():
        garble(checkpoint / "optimizer.pt")
    said: list[str] = []
    assert checked_checkpoint(folder, said.append) is None
    assert said[-1] == "There is no whole checkpoint: training starts from the beginning."


def test_what_is_sealed_was_synced_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "model.safetensors").write_bytes(b"weights")
    order: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        order.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    seal(tmp_path / "checkpoint-1", 3.0)
    names = [Path(path).name.split("-")[0].strip(".") for path in order]
    assert names.index("model.safetensors") < names.index("whole")
    assert str(tmp_path) == order[-1]


def test_a_model_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"old")

    def save(folder: str) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"new")
        if not (tmp_path / "go").exists():
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_whole(save, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"old"
    (tmp_path / "go").touch()
    save_whole(save, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"new"
    assert not (tmp_path / ".saving").exists()


@pytest.mark.parametrize("limit", [100_000, 200_000])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on(
    place: Path, tmp_path: Path, limit: int
) -> None:
    """A limit on file sizes stands for the disk.

    First the weights do not fit (128 kB), then they do and the optimizer's state (283 kB) does
    not.
    """
    tree = recipe_tree(place / "words", place / "base", steps=2, eval_every=1)
    recipe = write_recipe(tmp_path / "r.toml", tree)

    def train(*more: str, **rest: Any) -> subprocess.CompletedProcess[str]:
        return run_forked("train", recipe, "--output", tmp_path / "out", *more, cwd=ROOT, **rest)

    full = train(largest_file=limit)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("intentd-train: No space is left on the disk of "), full.stderr
    assert "--resume" in last
    assert not list((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    done = train("--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_memory_that_is_refused_is_one_sentence(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)  # what PyTorch says is what is recognised

    monkeypatch.setattr("train.examples.words.WordDraws.__getitem__", refuse)
    tree = recipe_tree(place / "words", place / "base", steps=2, eval_every=1)
    with pytest.raises(UserError, match=r"no memory left .* --resume starts again"):
        steps.train(run_of(tree, tmp_path / "out"))


def test_refusals_of_the_system_are_recognised_through_wrappers() -> None:
    def wrapped(inner: Exception) -> Exception:
        try:
            raise RuntimeError("while saving") from inner
        except RuntimeError as error:
            return error

    assert disk_full(wrapped(OSError(28, "No space left on device")))
    assert disk_full(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"))
    assert out_of_memory(wrapped(MemoryError()))
    assert not resource_sentence(ValueError("out of range"))
    assert "make room" in resource_sentence(OSError(122, "Disk quota exceeded"))
