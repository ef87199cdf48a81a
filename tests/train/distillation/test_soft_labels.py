"""Soft labels and vectors of a teacher, and a model that learns them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from rich.console import Console
from support.train_helpers import (
    RATE,
    launch,
    recipe_tree,
    run_of,
    tiny_base,
    write_recipe,
    write_words,
)
from transformers import Wav2Vec2Config
from transformers.modeling_outputs import SequenceClassifierOutput

from daemon.base.errors import UserError
from daemon.model.description.info import read_model_info
from train import augment
from train import pipeline as steps
from train.data.clips import Clip
from train.distillation import soft_labels
from train.distillation.soft_labels import DistillationLoss, add_vector_head, soft_targets
from train.distillation.soft_targets import SoftTargets
from train.distillation.windows import TeacherWindows
from train.distillation.word_embedding import WordEmbedding
from train.examples.words import WindowCollator, WordDraws
from train.recipe import AugmentSection, Recipe, TeachSection

LABELS = ("rise", "fall")
FRAME = 320


def clip_of(frames: int, label: str = "rise", placing: str = "word", key: str = "k") -> Clip:
    """A recording whose every sample says which frame it is, from 1 on."""
    samples = np.repeat(np.arange(1, frames + 1), FRAME).astype(np.int16)
    return Clip(samples, label, key, f"{label}-{frames}", 0, "train", placing)


def targets_of(*clips: Clip) -> SoftTargets:
    """A window at each frame, with its number as vector and soft label.

    The vector is the frame's number over a thousand, the soft label that number of votes for
    "rise".
    """
    counts = [len(clip.samples) // FRAME for clip in clips]
    ends = np.cumsum(counts)
    frames = np.concatenate([np.arange(1, n + 1) for n in counts])
    return SoftTargets(
        {id(c): (int(e - n), int(e)) for c, n, e in zip(clips, counts, ends, strict=True)},
        (frames - 1) * FRAME + FRAME // 2,
        np.stack([frames, 0 * frames], 1).astype(np.float32),
        np.arange(len(frames)),
        (frames[:, None] / 1000).astype(np.float16),
    )


def test_the_nearest_window_of_the_clip_is_taken() -> None:
    other, clip = clip_of(7), clip_of(20)
    targets = targets_of(other, clip)
    assert targets.nearest(clip, 3.6 * FRAME) == 7 + 3
    assert targets.nearest(clip, -5000) == 7
    assert targets.nearest(clip, 10**6) == 7 + 19
    assert targets.nearest(clip_of(20), 0) is None  # the teacher has not heard this one


@pytest.mark.parametrize("frames", [10, 50, 90])
def test_an_excerpt_says_which_samples_lie_in_it(frames: int) -> None:
    """Frame numbers are samples here, so that the window itself tells."""
    sound = clip_of(frames).samples.astype(np.float32)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        bounds = (2 * FRAME, (frames - 2) * FRAME)
        for excerpt in (
            augment.place_word(sound, bounds, RATE, rng),
            augment.crop(sound, RATE, rng),
            augment.cut_word(sound, bounds, RATE, rng),
        ):
            inside = excerpt.window[excerpt.window > 0]
            np.testing.assert_array_equal(inside, sound[excerpt.first : excerpt.last])
        alone = augment.isolate(sound, RATE, rng)
        faded = alone.window[alone.window > 0]  # all but the very first and last sample
        inside = sound[alone.first + 1 : alone.last - 1]
        assert len(faded) == len(inside)
        np.testing.assert_array_equal(faded[100:-100], inside[100:-100])


@pytest.mark.parametrize("placing", ["word", "crop"])
def test_a_draw_has_what_the_teacher_made_of_it(
    placing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at another speed; not for cut or composed windows, or noise."""
    # The samples are numbers of frames here, which no high-pass leaves.
    monkeypatch.setattr("train.examples.words.high_passed", lambda samples: samples)
    clips = [clip_of(90, "rise", placing), clip_of(30, "fall", placing)]
    settings = AugmentSection(
        speed=(0.8, 1.25), noise_probability=0.0, floor_db=(-200.0, -190.0),
        isolate_probability=0.4, background_probability=0.1, background_label="fall",
        cut_probability=0.1, cut_label="fall", splice_probability=0.1, neighbour_probability=0.2,
    )  # fmt: skip
    draws = WordDraws(
        clips, LABELS, ("fall",), (1.0,), settings, [], RATE, 200, 0, targets_of(*clips)
    )
    heard = 0
    for index in range(200):
        example = draws[index]
        if not example["has_targets"]:
            assert not example["soft_labels"].any()
            assert not example["vectors"].any()
            continue
        heard += 1
        frame = example["soft_labels"][0]
        assert example["vectors"][0] == pytest.approx(frame / 1000, abs=1e-3)
        middle = example["window"][RATE // 2] * 32768
        if middle > 0.5:  # frame n sounds as n
            assert middle == pytest.approx(frame, abs=1.1)
        else:
            assert frame in (1, 30, 90)
    assert 60 < heard < 180
    plain = WordDraws(clips, LABELS, ("fall",), (1.0,), settings, [], RATE, 200, 0)
    assert set(plain[0]) == {"window", "labels"}
    np.testing.assert_array_equal(plain[7]["window"], draws[7]["window"])


@pytest.mark.parametrize("kind", ["cut_probability", "splice_probability", "isolate_probability"])
def test_what_is_cut_or_stands_alone_has_no_teacher(kind: str) -> None:
    placing = "crop" if kind == "isolate_probability" else "word"
    clips = [clip_of(90, "rise", placing), clip_of(80, "fall", placing)]
    settings = AugmentSection.model_validate(
        {kind: 1.0, "cut_label": "fall", "noise_probability": 0.0}
    )
    draws = WordDraws(clips, LABELS, (), (1.0,), settings, [], RATE, 20, 0, targets_of(*clips))
    assert not any(draws[index]["has_targets"] for index in range(20))


class Says(torch.nn.Module):
    """A model whose logits are its input, and whose frames are ones."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Wav2Vec2Config(hidden_size=2)
        add_vector_head(self, 2)
        assert isinstance(self.vector_head, torch.nn.Sequential)
        last = self.vector_head[2]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.ones_(last.bias)  # every vector is (1, 1)

    def forward(self, values: torch.Tensor, output_hidden_states: bool = False) -> Any:
        frames = (torch.full((len(values), 4, 2), 9.0), torch.ones(len(values), 4, 2))
        return SequenceClassifierOutput(
            logits=values, hidden_states=frames if output_hidden_states else None
        )


def test_the_loss_is_of_label_soft_label_and_vector() -> None:
    def said(**changes: torch.Tensor) -> float:
        loss = DistillationLoss(
            "input_values", 0.75, temperature=2.0, cosine=0.1, label_smoothing=0.0
        )
        return loss(Says(), batch | changes)[0].item()

    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    soft_label = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    batch = {
        "input_values": logits, "labels": torch.tensor([0, 1]), "soft_labels": soft_label,
        "has_targets": torch.tensor([1.0, 0.0]), "vectors": torch.tensor([[3.0, 3.0], [5.0, 0.0]]),
    }  # fmt: skip
    hard = np.log(1 + np.exp(-2.0))
    soft = 4 * (np.log(0.5) - 0.5 * (np.log(1 / (1 + np.exp(-1))) + np.log(1 / (1 + np.exp(1)))))
    whole = (0.25 * hard + 0.75 * soft + hard) / 2
    assert said() == pytest.approx(whole, rel=1e-5)
    assert said(soft_labels=logits.log_softmax(-1)) == pytest.approx(1.25 * hard / 2, rel=1e-5)
    off = torch.tensor([[1.0, 0.0], [5.0, 0.0]])
    assert said(vectors=off) == pytest.approx(whole + 0.1 * (1 - 0.5**0.5) / 2, rel=1e-5)
    batch = {"input_values": logits, "labels": torch.tensor([0, 1])}
    assert said() == pytest.approx(hard, rel=1e-5)


def test_layers_learn_the_labels_of_other_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the speaker whose own recordings all have the wrong label."""
    rng = np.random.default_rng(0)
    clips, vectors = [], []
    for number in range(60):
        kind, speaker = number % 2, number // 4
        label = LABELS[1 - kind if speaker == 3 else kind]
        clips.append(clip_of(20 + number, label, key=f"speaker-{speaker}"))
        for _ in range(3):
            vector = 0.3 * rng.standard_normal(16)
            vector[kind] += 2
            vectors.append(vector / np.linalg.norm(vector))
    windows = TeacherWindows(
        np.repeat(np.arange(60), 3), np.tile([10, 20, 30], 60), np.arange(180),
        np.array(vectors, np.float16),
    )  # fmt: skip
    monkeypatch.setattr(soft_labels, "teacher_windows", lambda *_: windows)
    recipe = Recipe(name="r", data=(), teach=TeachSection(epochs=400))
    found = soft_targets(recipe, clips, LABELS, np.ones(60), Console(quiet=True))
    for number, clip in enumerate(clips):
        window = found.nearest(clip, 21)
        assert window == 3 * number + 1
        logs = found.soft_label(window)
        assert np.exp(logs).sum() == pytest.approx(1, abs=1e-5)
        assert int(logs.argmax()) == number % 2
    again = soft_targets(recipe, clips, LABELS, np.ones(60), Console(quiet=True))
    np.testing.assert_array_equal(found.logs, again.logs)


def taught_tree(place: Path, teacher: Path, **train: Any) -> dict[str, Any]:
    tree = recipe_tree(place / "words", place / "base", **train)
    tree["teach"] = {"teacher": str(teacher), "epochs": 5, "cache": str(place / "store")}
    return tree


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_words(tmp_path / "words", ("rise", "fall", "flat"), 12)
    tiny_base(tmp_path / "base")
    return tmp_path


def test_a_recipe_with_a_teacher_is_trained_and_cross_fitted(
    place: Path, word_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    vectors = WordEmbedding.vectors

    def counted(self: WordEmbedding, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        heard.append(len(windows))
        return vectors(self, windows)

    monkeypatch.setattr(WordEmbedding, "vectors", counted)
    batches: list[dict[str, torch.Tensor]] = []
    collate = WindowCollator.__call__

    def collated(self: WindowCollator, examples: list[Any]) -> dict[str, torch.Tensor]:
        batches.append(collate(self, examples))
        return batches[-1]

    monkeypatch.setattr(WindowCollator, "__call__", collated)
    tree = taught_tree(place, word_teacher, steps=6, eval_every=6)
    tree["calibrate"] |= {"cross_fit": 2}
    steps.train(run_of(tree, tmp_path / "out"))
    assert any("vectors" in batch and batch["has_targets"].all() for batch in batches)
    recordings = steps.load(run_of(tree, tmp_path / "out"))[0].part("train")
    # Each window once, although three models were trained.
    assert sum(heard) == 4 * len({clip.samples.tobytes() for clip in recordings})

    # What is left of a run whose training is done needs no teacher.
    (tmp_path / "out" / "metrics.json").unlink()
    monkeypatch.setattr(soft_labels, "teacher_windows", None)
    steps.train(run_of(tree, tmp_path / "out", resume=True))
    assert f"vectors of {word_teacher}" in (tmp_path / "out" / "README.md").read_text()
    saved = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert not any("vector_head" in name for name in saved)


def test_two_processes_train_one_model_with_a_teacher_and_cross_fit(
    place: Path, word_teacher: Path, tmp_path: Path
) -> None:
    tree = taught_tree(place, word_teacher, steps=4, eval_every=2, average=0.5)
    tree["calibrate"] |= {"cross_fit": 2}
    done = launch(write_recipe(tmp_path / "two.toml", tree), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("teacher vectors") == 1
    assert done.stdout.count("The model is in") == 1
    assert read_model_info(tmp_path / "out").calibrated
    mode = (tmp_path / "out" / "model.safetensors").stat().st_mode
    assert mode & 0o777 == (tmp_path / "out" / "config.json").stat().st_mode & 0o777
    state = json.loads((tmp_path / "out/checkpoints/checkpoint-4/trainer_state.json").read_text())
    assert state["global_step"] == 4
    assert json.loads((tmp_path / "out" / "history.json").read_text())["processes"] == 2
    for part in ("0", "1"):
        folder = tmp_path / "out" / "cross-fit" / part
        state = json.loads((folder / "checkpoints/checkpoint-2/trainer_state.json").read_text())
        assert state["global_step"] == 2
        assert (folder / "model.safetensors").is_file()


def test_the_teacher_changes_what_is_learned(
    place: Path, word_teacher: Path, tmp_path: Path
) -> None:
    made = {}
    for name, weight, cosine in (("soft", 0.9, 0.0), ("vectors", 0.0, 1.0), ("hard", 0.0, 0.0)):
        tree = taught_tree(place, word_teacher, steps=4, eval_every=4)
        tree["teach"] |= {"weight": weight, "cosine": cosine}
        steps.train(run_of(tree, tmp_path / name))
        made[name] = safetensors.torch.load_file(tmp_path / name / "model.safetensors")
    tree.pop("teach")
    steps.train(run_of(tree, tmp_path / "none"))
    plain = safetensors.torch.load_file(tmp_path / "none" / "model.safetensors")
    name = "classifier.weight"
    assert not torch.allclose(made["soft"][name], made["hard"][name], atol=1e-5)
    name = "wav2vec2.feature_projection.projection.weight"
    assert not torch.allclose(made["vectors"][name], made["hard"][name], atol=1e-5)
    assert torch.allclose(made["hard"][name], plain[name], atol=1e-6)


def test_a_teacher_that_is_missing_or_does_not_fit_is_a_sentence(
    place: Path, tmp_path: Path
) -> None:
    tree = taught_tree(place, tmp_path / "nothing")
    with pytest.raises(UserError, match="neither 'efficientword-net' nor an ONNX file"):
        steps.train(run_of(tree, tmp_path / "out"))
    tree["model"]["unit"] = "utterance"
    with pytest.raises(ValueError, match=r"\[teach\] goes with"):
        Recipe.model_validate(tree)
