"""Small data and small models that the tests of train/ share."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console

from train import pipeline as steps
from train.recipe import Recipe

ROOT = Path(__file__).parents[2]

RATE = 16_000
GLIDES = {"rise": (0.8, 1.5), "fall": (3.4, 2.4), "flat": (5.0, 5.0)}
"""Made-up words: how the resonance of a buzz moves."""
MINDS14_INTENTS = (
    "abroad",
    "address",
    "app_error",
    "atm_limit",
    "balance",
    "business_loan",
    "card_issues",
    "cash_deposit",
    "direct_debit",
    "freeze",
    "high_value_payment",
    "joint_account",
    "latest_transactions",
    "pay_bill",
)


def word(label: str, seed: int, seconds: float = 0.5) -> NDArray[np.float32]:
    """A buzz at 16 kHz whose resonance glides by the label, in silence."""
    rng = np.random.default_rng((seed, *label.encode()))
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    pitch = rng.uniform(100, 180)
    begin, end = GLIDES[label]
    centre = 500 * (begin + (end - begin) * t / seconds) * rng.uniform(0.93, 1.07)
    voice = np.zeros(n)
    for harmonic in range(1, 24):
        gain = np.exp(-(((harmonic * pitch - centre) / 220) ** 2))
        voice += gain * np.sin(2 * np.pi * harmonic * pitch * t)
    voice *= 0.2 * np.hanning(n) ** 0.3
    around = round(0.25 * RATE)
    out = np.concatenate([np.zeros(around), voice, np.zeros(around)])
    return (out + 0.0005 * rng.standard_normal(len(out))).astype(np.float32)


def write_words(folder: Path, labels: tuple[str, ...], count: int, first: int = 0) -> Path:
    """A folder with a subfolder a label, `count` recordings each.

    They are numbered from `first`.
    """
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            soundfile.write(folder / label / f"{label}-{number}.wav", word(label, number), RATE)
    return folder


def tiny_base(folder: Path, seed: int = 0) -> Path:
    """A Wav2Vec2 of some 60,000 parameters to begin from, in `folder`."""
    import torch
    from transformers import Wav2Vec2ForSequenceClassification

    from train.training.small_encoder import small_config, small_extractor, start_as_filterbank

    torch.manual_seed(seed)
    model = Wav2Vec2ForSequenceClassification(
        small_config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=(32, 32, 32, 32),
            conv_kernel=(160, 4, 4, 4),
            conv_stride=(80, 2, 2, 2),
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=4,
            classifier_proj_size=32,
            hidden_dropout=0.0,
            final_dropout=0.0,
        )
    )
    start_as_filterbank(model)
    model.save_pretrained(folder)
    small_extractor().save_pretrained(folder)
    return folder


def launch(recipe: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Train in two processes, as the documents have it, without a GPU."""
    accelerate = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command = [*accelerate, "--multi_gpu", "--num_processes", "2", "-m", "train", str(recipe)]
    return subprocess.run(
        [*command, "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def run_of(tree: dict[str, Any], output: Path, **rest: Any) -> steps.Run:
    """A run of a recipe, with its console kept from the screen."""
    console = Console(file=io.StringIO(), width=200)
    recipe = Recipe.model_validate(tree)
    return steps.Run(recipe, output, "intentd-train tiny.toml", console, **rest)


def recipe_tree(data: Path, base: Path, **train: Any) -> dict[str, Any]:
    """A recipe for made-up words, as TOML would give it."""
    return {
        "name": "tiny",
        "world": False,
        "root": str(data.parent),
        "model": {
            "base": str(base),
            "unit": "word",
            "labels": ["rise", "fall", "flat"],
            "non_intents": ["flat"],
        },
        "data": [{"path": data.name, "placing": "word"}],
        "split": {"buckets": 4, "test": [0], "validation": [1]},
        "augment": {"mask_time_prob": 0.0, "gain_db": [-6.0, 3.0]},
        "train": {
            "steps": 60,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "eval_every": 30,
            "threads": 1,
            **train,
        },
        "gate": {"kind": "energy"},
        "rolling": {"windows": 2},
        "calibrate": {"per_label": 6, "snr_db": []},
        "evaluate": {"per_label": 4, "snr_db": []},
    }


def write_recipe(path: Path, tree: dict[str, Any]) -> Path:
    """A recipe as the TOML file that a user would write."""
    lines = [f"{key} = {_toml(tree[key])}" for key in ("root", "world") if key in tree]
    for section in tree["data"]:
        lines.append("[[data]]")
        lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
    for name, section in tree.items():
        if isinstance(section, dict):
            lines.append(f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value)


def write_minds14(path: Path, sounds: list[tuple[int, bytes]]) -> Path:
    """A parquet file with the columns of PolyAI/minds14 en-US.

    `sounds`: intent and WAV file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, ClassLabel, Features, Value

    features = Features(
        {
            "path": Value("string"),
            "audio": Audio(sampling_rate=8000),
            "transcription": Value("string"),
            "english_transcription": Value("string"),
            "intent_class": ClassLabel(names=list(MINDS14_INTENTS)),
            "lang_id": ClassLabel(names=["en-US"]),
        }
    )
    rows = [
        {
            "path": f"en-US~{MINDS14_INTENTS[intent].upper()}/{number}.wav",
            "audio": {"bytes": sound, "path": None},
            "transcription": "",
            "english_transcription": "",
            "intent_class": intent,
            "lang_id": 0,
        }
        for number, (intent, sound) in enumerate(sounds)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), path)
    return path
