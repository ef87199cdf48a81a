"""The encoder of words that ships: packed, loaded, discriminating."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from support.forked import run_forked
from support.real_words import WORDS as RECORDINGS
from support.train_helpers import RATE, recipe_tree, tiny_base
from transformers import AutoModel, AutoModelForAudioClassification

from train.augment import place_word, word_bounds
from train.data.split import part_of
from train.examples.words import degrade
from train.recipe import AugmentSection, Recipe, SplitSection
from train.training.initial_model import build_model, words_encoder

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "daemon" / "bundled" / "demo.flac"
NOISY = AugmentSection(
    equalize_db=8.0, room_probability=0.5, gain_db=(-12.0, 6.0), mask_time_prob=0.0
)


def test_a_run_is_packed_in_half_precision_and_read_in_single(tmp_path: Path) -> None:
    run = tiny_base(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["intentd"] = {"version": 1}
    (run / "config.json").write_text(json.dumps(config))
    (run / "metrics.json").write_text("{}")
    run_forked(str(ROOT / "tools" / "pack_encoder.py"), run, tmp_path / "packed").check_returncode()
    # Half the size, less what JSON and the head take.
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (run, tmp_path / "packed")]
    assert sizes[1] < 0.55 * sizes[0]
    assert "intentd" not in json.loads((tmp_path / "packed" / "config.json").read_text())
    whole, packed = (AutoModel.from_pretrained(f).eval() for f in (run, tmp_path / "packed"))
    assert {p.dtype for p in packed.parameters()} == {torch.float32}
    sound = 0.1 * torch.randn(2, RATE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        frames = [model(sound).last_hidden_state for model in (whole, packed)]
    assert (frames[0] - frames[1]).abs().max() < 0.02 * frames[0].abs().max()


def test_what_ships_loads_in_transformers_and_in_a_recipe() -> None:
    folder = words_encoder()
    model = AutoModel.from_pretrained(folder)
    assert model.config.hidden_size == 192 and model.dtype == torch.float32
    assert (folder / "model.safetensors").stat().st_size < 5e6
    tree = recipe_tree(Path("words"), Path("words"))
    tree["model"]["base"] = "words"
    classifier, extractor = build_model(Recipe.model_validate(tree), ("rise", "fall", "flat"))
    assert classifier.config.num_labels == 3 and not extractor.do_normalize
    saved = safetensors.torch.load_file(folder / "model.safetensors")
    name = "encoder.layers.0.attention.k_proj.weight"
    assert torch.equal(classifier.state_dict()[f"wav2vec2.{name}"], saved[name].float())
    direct = AutoModelForAudioClassification.from_pretrained(folder, num_labels=3)
    assert torch.equal(direct.state_dict()[f"wav2vec2.{name}"], saved[name].float())


def embed(windows: list[Any]) -> np.ndarray:
    """Centred unit vectors of windows."""
    model = AutoModel.from_pretrained(words_encoder()).eval()
    with torch.inference_mode():
        vectors = model(torch.from_numpy(np.stack(windows))).last_hidden_state.mean(dim=1)
    vectors = vectors - vectors.mean(dim=0)
    return np.asarray(torch.nn.functional.normalize(vectors, dim=-1))


def test_a_word_in_noise_and_in_a_room_is_nearest_to_itself() -> None:
    samples, _ = soundfile.read(DEMO, dtype="float32")
    said = [e for e in json.loads(DEMO.with_suffix(".json").read_text()) if e["intent"]]
    said = list({entry["intent"]: entry for entry in said}.values())
    rng = np.random.default_rng(0)
    hiss = [(0.02 * rng.standard_normal(5 * RATE)).astype(np.float32)]
    clean, noisy = [], []
    for entry in said:
        middle = round((entry["start"] + entry["end"]) / 2 * RATE)
        clean.append(samples[middle - RATE // 2 : middle + RATE // 2])
        for _ in range(4):
            shift = int(rng.integers(-1_600, 1_600))
            window = samples[middle + shift - RATE // 2 : middle + shift + RATE // 2]
            noisy.append(degrade(window, NOISY, hiss, rng).astype(np.float32))
    vectors = embed([*clean, *noisy])
    nearest = (vectors[len(said) :] @ vectors[: len(said)].T).argmax(axis=1)
    assert (nearest == np.repeat(np.arange(len(said)), 4)).mean() > 0.9


def test_a_word_is_near_the_same_word_of_another_person() -> None:
    """Test speakers of Speech Commands, whom the encoder was not trained on."""
    if not RECORDINGS.is_file():
        pytest.skip("needs recordings of real people")
    import pyarrow.parquet as pq
    from datasets import Features

    table = pq.read_table(RECORDINGS)
    names = Features.from_arrow_schema(table.schema)["label"].names
    wanted = ("happy", "bed", "cat", "zero", "right", "down", "stop", "yes")
    rng = np.random.default_rng(0)
    windows, labels, count = [], [], dict.fromkeys(wanted, 0)
    for row in table.to_pylist():
        word = names[row["label"]]
        key = row["speaker"] or row["audio"]["path"]
        if count.get(word, 20) >= 20 or part_of(key, SplitSection()) != "test":
            continue
        count[word] += 1
        clip = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")[0]
        windows.append(place_word(clip, word_bounds(clip), RATE, rng).window)
        labels.append(word)
    vectors = embed(windows)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    words = np.array(labels)
    assert (words[similarity.argmax(axis=1)] == words).mean() > 0.85
