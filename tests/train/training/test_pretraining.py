"""Distilling an encoder from a teacher: a small Whisper of random weights, in its real format."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.train_helpers import recipe_tree, run_of, tiny_base, write_words
from transformers import AutoModelForAudioClassification, Wav2Vec2Config

from daemon.base.errors import UserError
from train import pipeline as steps
from train.distillation import features as distil
from train.distillation import whisper as teacher
from train.recipe import AugmentSection, Recipe
from train.training.fast_convolution import quicken
from train.training.trainer import IntentTrainer

QUIET = AugmentSection(mask_time_prob=0.0, floor_db=(-140.0, -130.0))


def lesson_of(recordings: list[np.ndarray]) -> distil.Lesson:
    """Recordings with frames that say which recording and which frame they are."""
    counts = [-(-len(r) // teacher.FRAME) for r in recordings]
    frames = np.concatenate(
        [np.stack([np.full(n, number), np.arange(n)], axis=1) for number, n in enumerate(counts)]
    ).astype(np.float16)
    starts = tuple(int(v) for v in np.concatenate([[0], np.cumsum(counts)]))
    return distil.Lesson(
        tuple(recordings),
        frames,
        starts,
        np.zeros(2, np.float32),
        np.full(2, 100.0, np.float32),
    )


def marked(number: int, frames: int) -> np.ndarray:
    """A recording whose every sample says whose and which frame it is."""
    frame = np.repeat(np.arange(frames), teacher.FRAME)
    return (1000 * (number + 1) + frame).astype(np.int16)


def test_recordings_lie_in_pieces_without_overlap_and_on_the_grid() -> None:
    lengths = [16_000, 50_000, 159_999, 400_000, 1_000, 90_000]
    places = teacher.lay_out(lengths)
    assert [p.length for p in places] == [min(n, teacher.PIECE) for n in lengths]
    for place in places:
        assert place.start % teacher.FRAME == 0
        assert place.start + place.length <= teacher.PIECE
    for one, two in itertools.pairwise(places):
        later = two.piece == one.piece + 1 and two.start == 0
        assert later or (two.piece == one.piece and two.start >= one.start + one.length)


def test_the_teacher_hears_every_recording_at_one_level() -> None:
    rng = np.random.default_rng(0)
    sounds = [
        (level * rng.standard_normal(n)).astype(np.float32)
        for level, n in ((0.01, 40_000), (0.2, 100_000), (0.05, 60_000))
    ]
    places = teacher.lay_out([len(s) for s in sounds])
    laid = list(teacher.pieces(sounds, places))
    assert len(laid) == places[-1].piece + 1
    for place in places:
        heard = laid[place.piece][place.start : place.start + place.length]
        assert np.sqrt(np.mean(heard**2)) == pytest.approx(teacher.LEVEL, rel=0.02)


def test_the_students_frames_lie_on_the_teachers() -> None:
    config = Wav2Vec2Config(conv_dim=(8, 8), conv_kernel=(400, 3), conv_stride=(320, 2))
    grid = distil.Grid.of(config, 16_000)
    # 49 frames of 320 become 24 of 640; the field is 400 + 2 * 320 = 1,040 samples, so the first
    # frame is centred on sample 520, teacher frame 1.6: the mean of frames 1 and 2 is nearest.
    assert grid.indices.shape == (24, 2)
    assert grid.indices[:2].tolist() == [[1, 2], [3, 4]]
    fine = distil.Grid.of(Wav2Vec2Config(), 16_000)
    assert fine.indices.shape == (49, 1)
    # wav2vec2-base: a field of 400 samples, centred on 200, teacher frame 0.6.
    assert fine.indices[:3, 0].tolist() == [1, 2, 3]


def test_a_window_carries_the_frames_of_what_is_heard_in_it() -> None:
    lesson = lesson_of([marked(0, 40), marked(1, 120), marked(2, 25)])
    grid = distil.Grid(np.arange(50)[:, None])
    windows = distil.Windows(
        lesson, [0, 1, 2], grid, 16_000, QUIET, [], draws=60, seed=3, fixed=True
    )
    seen = set()
    for index in range(0, 60, 2):  # the even ones are as they are
        example = windows[index]
        value = np.rint(example["window"] * 32768).astype(int).reshape(50, teacher.FRAME)
        for frame in range(50):
            if not example["heard"][frame]:
                assert not value[frame].any()
                continue
            number, place = np.rint(example["labels"][frame] * 100).astype(int)
            assert (value[frame] == 1000 * (number + 1) + place).all()
            seen.add(number)
    assert seen == {0, 1, 2}


def test_draws_repeat_and_differ_from_epoch_to_epoch() -> None:
    lesson = lesson_of([marked(0, 60), marked(1, 60)])
    grid = distil.Grid(np.arange(50)[:, None])
    windows = distil.Windows(lesson, [0, 1], grid, 16_000, AugmentSection(), [], draws=4, seed=0)
    first = windows[1]["window"]
    assert np.array_equal(first, windows[1]["window"])
    windows.set_epoch(1)
    assert not np.array_equal(first, windows[1]["window"])


def test_frames_that_the_teacher_did_not_hear_do_not_count() -> None:
    class Says(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values

    said = torch.zeros(1, 3, 2)
    heard = torch.tensor([[True, False, True]])
    target = torch.tensor([[[1.0, 1.0], [9.0, 9.0], [2.0, 2.0]]])
    loss, _ = distil.distance(Says(), {"input_values": said, "labels": target, "heard": heard})
    assert loss.item() == pytest.approx((1 + 4) / 2)


def test_matrix_products_give_what_convolutions_give(tmp_path: Path) -> None:
    model = AutoModelForAudioClassification.from_pretrained(tiny_base(tmp_path / "base"))
    model.eval()
    values = 0.1 * torch.randn(3, 16_000)
    logits = model(values).logits
    logits.sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert quicken(model)
    again = model(values).logits
    again.sum().backward()
    assert torch.allclose(logits, again, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in gradients:
            assert torch.allclose(gradients[name], parameter.grad, atol=1e-3, rtol=1e-3), name


def pretraining(place: Path, whisper: Path, **train: Any) -> dict[str, Any]:
    tree = recipe_tree(place / "words", place / "base", **train)
    tree["model"] = {"base": str(place / "base")}
    tree["data"] = [{"path": "words", "label": "speech"}]
    tree["distil"] = {"teacher": str(whisper)}
    return tree


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    write_words(folder / "words", ("rise", "fall", "flat"), 8)
    tiny_base(folder / "base")
    return folder


def test_an_encoder_is_pretrained_and_finetuned_from(
    place: Path, whisper: Path, tmp_path: Path
) -> None:
    tree = pretraining(place, whisper, steps=40, eval_every=20, learning_rate=5e-3)
    figures = steps.train(run_of(tree, tmp_path / "encoder"))
    distances = [row["eval_loss"] for row in figures["log"] if "eval_loss" in row]
    # Features have a variance of one: what knows nothing but the mean is one off.
    assert distances[-1] < distances[0]
    assert figures["distance"] < 0.98
    assert "Whisper" in (tmp_path / "encoder" / "README.md").read_text()
    assert not (tmp_path / "encoder" / "teacher").exists()
    with pytest.raises(UserError, match="finished"):
        steps.train(run_of(tree, tmp_path / "encoder"))

    from train.training.initial_model import build_model

    words = recipe_tree(place / "words", tmp_path / "encoder")
    model, _ = build_model(Recipe.model_validate(words), ("rise", "fall", "flat"))
    start, _ = build_model(
        Recipe.model_validate(recipe_tree(place / "words", place / "base")),
        ("rise", "fall", "flat"),
    )
    name = "wav2vec2.feature_extractor.conv_layers.1.conv.weight"
    trained = model.state_dict()[name]
    assert not torch.equal(trained, start.state_dict()[name])
    import safetensors.torch

    saved = safetensors.torch.load_file(tmp_path / "encoder" / "model.safetensors")
    assert torch.equal(trained, saved[name])


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_pretraining_that_stopped_goes_on(
    place: Path, whisper: Path, tmp_path: Path, at_the_end: bool
) -> None:
    # Thirteen steps end in the middle of an epoch.
    tree = pretraining(place, whisper, steps=13, eval_every=6)
    whole = steps.train(run_of(tree, tmp_path / "whole"))
    first = run_of(tree, tmp_path / "half")

    class StopError(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise StopError

    with pytest.MonkeyPatch.context() as patch:
        # Stands for a power cut after the last checkpoint: nothing after training is done.
        patch.setattr(IntentTrainer, "keep_average", stop)
        with pytest.raises(StopError):
            steps.train(first)
    if not at_the_end:
        (tmp_path / "half" / "checkpoints" / "checkpoint-13" / "whole").unlink()
    resumed = steps.train(run_of(tree, tmp_path / "half", resume=True))
    assert resumed["distance"] == pytest.approx(whole["distance"], abs=1e-6)
    steps_of = [
        [row["step"] for row in figures["log"] if "train_runtime" not in row]
        for figures in (resumed, whole)
    ]
    assert steps_of[0] == steps_of[1]
    assert not (tmp_path / "half" / "checkpoints" / "checkpoint-14").exists()
    one, other = (
        safetensors.torch.load_file(tmp_path / name / "model.safetensors")
        for name in ("whole", "half")
    )
    assert all(torch.equal(one[name], other[name]) for name in one if "classifier" not in name)


def test_a_missing_teacher_is_a_sentence(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    tree = pretraining(place, tmp_path / "nothing", steps=1)
    with pytest.raises(UserError, match="neither 'whisper-base' nor a directory"):
        steps.train(run_of(tree, tmp_path / "encoder"))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "model.bin").write_bytes(b"no model")
    with pytest.raises(UserError, match="CTranslate2's format"):
        steps.train(run_of(tree, tmp_path / "encoder", force=True))


def test_its_recipe_is_read() -> None:
    from train.recipe import load_recipe

    recipe = load_recipe("pretrain")
    assert recipe.distil is not None
    assert json.loads(recipe.model_dump_json())["distil"] == {"teacher": "whisper-base"}
    assert not any(section.path.startswith("orders") for section in recipe.data)
