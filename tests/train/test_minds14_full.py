"""The guide's recipe unshortened: 563 requests, 95 million parameters.

`make soak` runs it, for a fifth of an epoch; INTENTD_TEST_EPOCHS=1 makes it a whole one.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from support.speech_packages import missing_synthesisers
from support.train_helpers import MINDS14_INTENTS, write_minds14

from train.data.synthesis import speak, voices

ROOT = Path(__file__).parents[2]
ROWS = 563
REQUESTS = (
    "I am abroad next month and would like to use my card there",
    "I have moved house and want to change my address",
    "your app shows an error whenever I sign in",
    "how much money can I take out of the cash machine in a day",
    "could you tell me the balance of my account",
    "I need a loan for my small business",
    "my card does not work any more",
    "I want to pay in some cash that I was given",
    "please set up a direct debit for my electricity",
    "I have lost my card, could you freeze it",
    "I want to make a payment of a very large amount",
    "my wife and I would like a joint account",
    "what were my latest transactions",
    "I have a bill here that I would like to pay",
)
BEFORE = ("hi,", "hello there, I hope you are well.", "good morning, I have a question.")
AFTER = (
    "thank you very much for your help, and have a nice day.",
    "I have been a customer of yours for many years, so I hope that this is possible.",
    "could you please let me know what I have to do, since I do not know how it works.",
)


def recordings() -> Iterator[tuple[int, bytes]]:
    """Requests of about ten seconds at 8 kHz in many synthetic voices."""
    rng = np.random.default_rng(0)
    cast = voices(0, 40)
    for number in range(ROWS):
        intent, voice = number % 14, cast[int(rng.integers(len(cast)))]
        text = " ".join((str(rng.choice(BEFORE)), REQUESTS[intent] + ".", str(rng.choice(AFTER))))
        spoken = soxr.resample(speak(text, voice), 16_000, 8_000)
        pauses = [np.zeros(int(rng.integers(2_000, 8_000)), np.float32) for _ in range(2)]
        samples = np.concatenate([pauses[0], spoken, pauses[1]])
        samples = samples + 1e-3 * rng.standard_normal(len(samples))
        file = io.BytesIO()
        soundfile.write(file, samples, 8_000, format="WAV", subtype="PCM_16")
        yield intent, file.getvalue()


def base_of_the_guide(folder: Path) -> Path:
    """facebook/wav2vec2-base's shape, with random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    model = Wav2Vec2Model(Wav2Vec2Config())
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(95e6, rel=0.02)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


@pytest.mark.soak
@pytest.mark.skipif(bool(missing_synthesisers()), reason="needs espeak-ng and flite")
def test_the_guides_recipe_unshortened(tmp_path: Path) -> None:
    began = time.monotonic()
    sounds = list(itertools.islice(recordings(), ROWS))
    write_minds14(tmp_path / "minds14.parquet", sounds)
    lengths = [soundfile.info(io.BytesIO(sound)).duration for _, sound in sounds]
    print(f"{len(sounds)} requests of {np.mean(lengths):.1f} s on average, made in "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    command = [sys.executable, "-m", "train", "minds14", "--output", str(tmp_path / "model")]
    for setting in (
        f"data.0.path={tmp_path / 'minds14.parquet'}",
        f"model.base={base_of_the_guide(tmp_path / 'base')}",
        f"train.epochs={os.environ.get('INTENTD_TEST_EPOCHS', '0.2')}",
    ):
        command += ["--set", setting]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{history['steps']} steps, {history['seconds_per_step']:.1f} s each; peak memory "
        f"{peak:.1f} GiB in all, {history['peak_memory_gib']:.1f} GiB in training"
    )
    assert peak < 24
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["labels"] == sorted(MINDS14_INTENTS)
    assert sum(sum(row.values()) for row in metrics["clips"].values()) == ROWS
