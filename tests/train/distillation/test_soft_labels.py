"""Soft labels: a head on a larger encoder's frames, and a small model that learns from it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
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
from train.distillation import features as distil
from train.distillation import whisper as teacher
from train.distillation.soft_labels import (
    DistillationData,
    DistillationLoss,
    add_frame_head,
    train_soft_targets,
)
from train.distillation.soft_targets import SoftTargets
from train.examples.words import WindowCollator, WordDraws
from train.recipe import AugmentSection, Recipe, TeachSection

LABELS = ("rise", "fall")
FRAME = teacher.FRAME
CENTRES = (np.arange(24) * 640.0 + 300).astype(np.float64)
"""Of the frames of a model that come every 640 samples."""


def clip_of(frames: int, label: str = "rise", placing: str = "word") -> Clip:
    """A recording whose every sample says which frame it is, from 1 on."""
    samples = np.repeat(np.arange(1, frames + 1), FRAME).astype(np.int16)
    return Clip(samples, label, "k", f"{label}-{frames}", 0, "train", placing)


def targets_of(*clips: Clip) -> SoftTargets:
    """Frame n of a clip votes n + 1 for "rise" and 0 for "fall", and all frames weigh the same."""
    lengths = [len(clip.samples) // FRAME for clip in clips]
    ends = list(itertools.accumulate(lengths))
    votes = np.zeros((ends[-1], 1, 2), np.float16)
    votes[:, 0, 0] = np.concatenate([np.arange(n) + 1 for n in lengths])
    spans = {id(c): (end - n, end) for c, end, n in zip(clips, ends, lengths, strict=True)}
    return targets_with(np.zeros((ends[-1], 1), np.float32), votes, spans)


def targets_with(weights: Any, votes: Any, spans: dict[int, tuple[int, int]]) -> SoftTargets:
    """A targets beside frames at CENTRES, with one attention and two labels."""
    return SoftTargets(
        weights, votes, spans, CENTRES, np.zeros(3, np.float32), np.ones(3, np.float32)
    )


def mean_vote(soft_label: NDArray[np.float32]) -> float:
    """What the frames of a `targets_of` voted on average."""
    assert np.exp(soft_label).sum() == pytest.approx(1, abs=1e-5)
    return float(soft_label[0] - soft_label[1])


def test_a_soft_label_is_of_the_frames_in_the_window_and_of_no_others() -> None:
    other, clip = clip_of(7), clip_of(20)
    targets = targets_of(other, clip)
    soft_label = targets.soft_label(clip, 3 * FRAME, 6 * FRAME)
    assert soft_label is not None
    assert mean_vote(soft_label) == pytest.approx((4 + 5 + 6) / 3)
    whole = targets.soft_label(clip, -5000, 10**6)
    assert whole is not None
    assert mean_vote(whole) == pytest.approx(10.5)
    assert targets.soft_label(clip, 20 * FRAME, 25 * FRAME) is None
    assert targets.soft_label(clip_of(20), 0, 3 * FRAME) is None  # this one is not known


def test_a_long_recording_has_targets_only_where_the_teacher_has_frames() -> None:
    """Ten seconds; a window that begins there and ends later has frames of both kinds."""
    clip = clip_of(60)
    targets = targets_of(clip)
    targets.spans[id(clip)] = (0, 30)
    window = clip.audio[10 * FRAME : 10 * FRAME + RATE]
    frames, mask = targets.frame_targets(
        clip, augment.Excerpt(window, 10 * FRAME, 10 * FRAME + RATE), 1.0
    )
    np.testing.assert_array_equal(mask, CENTRES + 10 * FRAME < 30 * FRAME)
    assert frames[mask].max() <= 30
    beyond = augment.Excerpt(window, 40 * FRAME, 40 * FRAME + RATE)
    assert not targets.frame_targets(clip, beyond, 1.0)[1].any()


def test_attention_weighs_the_votes() -> None:
    clip = clip_of(2)
    votes = np.array([[[4.0, 0.0]], [[0.0, 8.0]]], np.float16)
    targets = targets_with(np.array([[0.0], [np.log(3)]], np.float32), votes, {id(clip): (0, 2)})
    soft_label = targets.soft_label(clip, 0, 2 * FRAME)
    assert soft_label is not None
    assert soft_label[0] - soft_label[1] == pytest.approx(0.25 * 4 - 0.75 * 8)


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
def test_a_draw_has_the_soft_label_of_its_window(
    placing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at another speed, and not if the word was cut or there is no clip in the window."""
    # The samples are numbers of frames here, which no high-pass leaves.
    monkeypatch.setattr("train.examples.words.high_passed", lambda samples: samples)
    clips = [clip_of(90, "rise", placing), clip_of(30, "fall", placing)]
    settings = AugmentSection(
        speed=(0.8, 1.25), noise_probability=0.0, floor_db=(-200.0, -190.0),
        isolate_probability=0.5, background_probability=0.2, background_label="fall",
        cut_probability=0.2, cut_label="fall",
    )  # fmt: skip
    draws = WordDraws(
        clips, LABELS, ("fall",), (1.0,), settings, [], RATE, 120, 0, targets_of(*clips)
    )
    seen = 0
    for index in range(120):
        example = draws[index]
        # Frame n sounds as n + 1 and votes n + 1, at every place of the window.
        sounds = example["window"] * 32768
        places = CENTRES[example["frame_mask"]].astype(int)
        for vote, at in zip(
            example["frame_targets"][example["frame_mask"], 1], places, strict=True
        ):
            faded = sounds[max(0, at - 100) : at + 100].min() < 1
            assert faded or vote == pytest.approx(sounds[at] + 0.5, abs=2.0)
        if not example["has_soft_label"]:
            assert not example["soft_labels"].any()
            continue
        inside = sounds[sounds > 0.5]
        assert mean_vote(example["soft_labels"]) == pytest.approx(float(np.median(inside)), abs=1.2)
        assert 2 <= len(places) == pytest.approx(len(inside) / 640, abs=2)
        seen += 1
    assert 60 < seen < 110
    plain = WordDraws(clips, LABELS, ("fall",), (1.0,), settings, [], RATE, 120, 0)
    assert set(plain[0]) == {"window", "labels"}
    np.testing.assert_array_equal(plain[7]["window"], draws[7]["window"])


def test_a_cut_word_has_frame_targets_alone() -> None:
    """Half a word is no word, though the teacher, which has all of it, says so."""
    clips = [clip_of(90, "rise"), clip_of(30, "fall")]
    settings = AugmentSection(cut_probability=1.0, cut_label="fall", noise_probability=0.0)
    draws = WordDraws(clips, LABELS, (), (1.0,), settings, [], RATE, 20, 0, targets_of(*clips))
    for index in range(20):
        example = draws[index]
        assert not example["has_soft_label"]
        assert example["frame_mask"].any()
        assert example["frame_targets"][example["frame_mask"], 1].min() >= 1


class Says(torch.nn.Module):
    """A model whose logits are its input, and whose frames are ones."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Wav2Vec2Config(hidden_size=2)
        add_frame_head(self, 2)
        assert isinstance(self.frame_head, torch.nn.Linear)
        torch.nn.init.constant_(self.frame_head.weight, 0.5)  # every frame says ones
        torch.nn.init.zeros_(self.frame_head.bias)

    def forward(self, values: torch.Tensor, output_hidden_states: bool = False) -> Any:
        frames = (torch.full((len(values), 4, 2), 9.0), torch.ones(len(values), 4, 2))
        return SequenceClassifierOutput(
            logits=values, hidden_states=frames if output_hidden_states else None
        )


def test_checkpoints_of_earlier_versions_can_be_loaded() -> None:
    model = Says()
    state = model.state_dict()
    old = {name.replace("frame_head", "echo"): torch.rand_like(state[name]) for name in state}
    model.load_state_dict(dict(old))
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, old[name.replace("frame_head", "echo")])


def test_the_loss_is_of_the_label_the_soft_label_and_the_frames() -> None:
    def said(**changes: torch.Tensor) -> float:
        loss = DistillationLoss(
            "input_values", 0.75, temperature=2.0, frames=0.1, label_smoothing=0.0
        )
        return loss(Says(), batch | changes)[0].item()

    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    soft_label = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    batch = {
        "input_values": logits, "labels": torch.tensor([0, 1]), "soft_labels": soft_label,
        "has_soft_label": torch.tensor([1.0, 0.0]), "frame_targets": torch.ones(2, 4, 12),
        "frame_mask": torch.tensor([[True, True, False, False], [False] * 4]),
    }  # fmt: skip
    hard = np.log(1 + np.exp(-2.0))
    soft = 4 * (np.log(0.5) - 0.5 * (np.log(1 / (1 + np.exp(-1))) + np.log(1 / (1 + np.exp(1)))))
    whole = (0.25 * hard + 0.75 * soft + hard) / 2
    assert said() == pytest.approx(whole, rel=1e-5)
    assert said(soft_labels=logits.log_softmax(-1)) == pytest.approx(1.25 * hard / 2, rel=1e-5)
    wrong = torch.ones(2, 4, 12)
    wrong[0, 0] = 3.0  # off by 2 in one of the two frames of the mask
    wrong[0, 2:] = wrong[1] = 77.0
    assert said(frame_targets=wrong) == pytest.approx(whole + 0.1 * 4 / 2, rel=1e-5)
    batch = {"input_values": logits, "labels": torch.tensor([0, 1])}
    assert said() == pytest.approx(hard, rel=1e-5)


def test_a_head_learns_the_labels_from_frames() -> None:
    """One feature tells the labels apart, in the middle frames only."""
    rng = np.random.default_rng(0)
    clips = [clip_of(20 + 5 * (n % 9), LABELS[n % 2]) for n in range(60)]
    counts = [len(clip.samples) // FRAME for clip in clips]
    frames = rng.standard_normal((sum(counts), 6)).astype(np.float16)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for number, start in enumerate(starts[:-1]):
        middle = start + counts[number] // 2
        frames[middle - 3 : middle + 3, 2] += -4 if number % 2 else 4
    known = distil.TeacherFrames(
        tuple(c.samples for c in clips), frames, tuple(int(s) for s in starts),
        np.zeros(6, np.float32), np.ones(6, np.float32),
    )  # fmt: skip
    data = DistillationData(known, {id(clip): number for number, clip in enumerate(clips)})
    learned, held = clips[:40], clips[40:]
    targets = train_soft_targets(
        data, learned, LABELS, np.ones(40), TeachSection(epochs=96), RATE, CENTRES, seed=0
    )
    assert targets.soft_label(held[0], 0, RATE) is None
    right = 0
    for clip in learned:
        soft_label = targets.soft_label(clip, 0, len(clip.samples))
        assert soft_label is not None
        right += LABELS[int(soft_label.argmax())] == clip.label
    assert right >= 39
    again = train_soft_targets(
        data, learned, LABELS, np.ones(40), TeachSection(epochs=96), RATE, CENTRES, seed=0
    )
    np.testing.assert_array_equal(targets.votes, again.votes)


def recipe_with_teacher(place: Path, whisper: Path, **train: Any) -> dict[str, Any]:
    tree = recipe_tree(place / "words", place / "base", **train)
    tree["teach"] = {"teacher": str(whisper), "epochs": 5}
    return tree


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teach")
    write_words(folder / "words", ("rise", "fall", "flat"), 12)
    tiny_base(folder / "base")
    return folder


def test_a_recipe_with_a_teacher_is_trained_and_cross_fitted(
    place: Path, whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    frames = teacher.Whisper.frames

    def counted(self: teacher.Whisper, piece: augment.Audio) -> NDArray[np.float16]:
        computed.append(len(piece))
        return frames(self, piece)

    monkeypatch.setattr(teacher.Whisper, "frames", counted)
    batches: list[dict[str, torch.Tensor]] = []
    collate = WindowCollator.__call__

    def collated(self: WindowCollator, examples: list[Any]) -> dict[str, torch.Tensor]:
        batches.append(collate(self, examples))
        return batches[-1]

    monkeypatch.setattr(WindowCollator, "__call__", collated)
    tree = recipe_with_teacher(place, whisper, steps=6, eval_every=6)
    tree["calibrate"] |= {"cross_fit": 2}
    steps.train(run_of(tree, tmp_path / "out"))
    assert any("soft_labels" in batch and batch["has_soft_label"].all() for batch in batches)
    recordings = steps.load(run_of(tree, tmp_path / "out"))[0].part("train")
    pieces = teacher.lay_out([len(clip.samples) for clip in recordings])[-1].piece + 1
    assert len(computed) == pieces  # once, although three models were trained
    assert not (tmp_path / "out" / "teacher").exists()

    # What is left of a run whose training is done needs no teacher.
    (tmp_path / "out" / "metrics.json").unlink()
    steps.train(run_of(tree, tmp_path / "out", resume=True))
    assert len(computed) == pieces
    assert f"a head on {whisper}'s encoder" in (tmp_path / "out" / "README.md").read_text()
    saved = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert not any("frame_targets" in name for name in saved)


def test_two_processes_train_with_a_teacher_and_cross_fit(
    place: Path, whisper: Path, tmp_path: Path
) -> None:
    tree = recipe_with_teacher(place, whisper, steps=4, eval_every=2)
    tree["calibrate"] |= {"cross_fit": 2}
    done = launch(write_recipe(tmp_path / "two.toml", tree), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("teacher frames") == 1
    assert read_model_info(tmp_path / "out").calibrated
    for part in ("0", "1"):
        folder = tmp_path / "out" / "cross-fit" / part
        state = json.loads((folder / "checkpoints/checkpoint-2/trainer_state.json").read_text())
        assert state["global_step"] == 2
        assert (folder / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "teacher").exists()


def test_soft_labels_change_what_is_learned(place: Path, whisper: Path, tmp_path: Path) -> None:
    made = {}
    for name, weight, frames in (("soft", 0.9, 0.0), ("frames", 0.0, 1.0), ("hard", 0.0, 0.0)):
        tree = recipe_with_teacher(place, whisper, steps=4, eval_every=4)
        tree["teach"] |= {"weight": weight, "frames": frames}
        steps.train(run_of(tree, tmp_path / name))
        made[name] = safetensors.torch.load_file(tmp_path / name / "model.safetensors")
    tree.pop("teach")
    steps.train(run_of(tree, tmp_path / "none"))
    plain = safetensors.torch.load_file(tmp_path / "none" / "model.safetensors")
    name = "classifier.weight"
    assert not torch.allclose(made["soft"][name], made["hard"][name], atol=1e-5)
    name = "wav2vec2.feature_projection.projection.weight"
    assert not torch.allclose(made["frames"][name], made["hard"][name], atol=1e-5)
    assert torch.allclose(made["hard"][name], plain[name], atol=1e-6)


def test_a_teacher_that_is_missing_or_does_not_fit_is_a_sentence(
    place: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ctranslate2")
    tree = recipe_with_teacher(place, tmp_path / "nothing")
    with pytest.raises(UserError, match="neither 'whisper-base' nor a directory"):
        steps.train(run_of(tree, tmp_path / "out"))
    tree["model"]["unit"] = "utterance"
    with pytest.raises(ValueError, match=r"\[teach\] goes with"):
        Recipe.model_validate(tree)
