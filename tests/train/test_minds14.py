"""The guide's recipe on a small data set of MInDS-14's shape.

Columns, 8 kHz, 14 labels.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from rich.console import Console
from support.train_helpers import MINDS14_INTENTS as INTENTS
from support.train_helpers import tiny_base, word, write_minds14
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from daemon.model.description.info import read_model_info
from train import pipeline as steps
from train.recipe_files import load_recipe


def request(number: int, seed: int) -> bytes:
    """Three seconds at 8 kHz, with the intent's sound at the end."""
    label = ("rise", "fall")[number % 2]
    speech = np.concatenate([word("flat", seed), word("flat", seed + 1), word(label, seed)])
    file = io.BytesIO()
    soundfile.write(file, speech[::2], 8000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minds14")
    sounds = [(n % 14, request(n % 14, n)) for n in range(168)]
    write_minds14(folder / "d.parquet", sounds)
    tiny_base(folder / "base")
    return folder


@pytest.mark.parametrize("windows", ["all", "first"])
def test_the_default_recipe_runs_whole(copy: Path, tmp_path: Path, windows: str) -> None:
    settings = [
        f"data.0.path={copy / 'd.parquet'}",
        f"model.base={copy / 'base'}",
        f"model.windows={windows}",
        "train.steps=3",
        "train.eval_every=3",
        "train.threads=1",
        "gate.kind=energy",
        "calibrate.per_label=1",
        "evaluate.per_label=1",
        "evaluate.snr_db=[]",
    ]
    recipe = load_recipe("minds14", settings)
    out = tmp_path / "out"
    figures = steps.train(steps.Run(recipe, out, "x", Console(file=io.StringIO())))
    assert figures["labels"] == sorted(INTENTS)
    rows = [json.loads(line) for line in (out / "split.jsonl").read_text().splitlines()]
    parts = [row["part"] for row in rows]
    assert parts.count("test") == pytest.approx(168 * 0.2, abs=1)
    by_label = {row["label"] for row in rows if row["part"] == "test"}
    assert len(by_label) == 14
    info = read_model_info(out)
    assert info.unit == "utterance"
    assert info.labels == tuple(sorted(INTENTS))
    assert figures["conditions"][0]["utterances"]["n"] == parts.count("test")
    assert "MInDS-14" in (out / "README.md").read_text()
    if windows == "first":
        # The guide's own measure: the first second alone, by transformers alone.
        tested = {row["path"] for row in rows if row["part"] == "test"}
        hits = 0
        model = AutoModelForAudioClassification.from_pretrained(out).eval()
        extractor = AutoFeatureExtractor.from_pretrained(out)
        for row in pq.read_table(copy / "d.parquet").to_pylist():
            if row["path"] in tested:
                samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
                cut = soxr.resample(samples, rate, 16_000)[:16_000]
                batch = extractor(cut, sampling_rate=16_000, return_tensors="pt")
                said = int(model(**batch).logits.argmax())
                hits += model.config.id2label[said] == INTENTS[row["intent_class"]]
        assert figures["conditions"][0]["utterances"]["accuracy"] == hits / len(tested)
