"""Descriptions of models: their values, and that reading costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from support.model_checkpoints import KINDS, LABELS, edit, save

from daemon.base.errors import UserError
from daemon.config import Sources, load_settings
from daemon.model.description.architecture import HEADS
from daemon.model.description.fields import Fields
from daemon.model.description.info import Calibration, read_model_info, write_intentd_key
from daemon.model.description.labels import read_labels

Checkpoint = Callable[[str], Path]

FULL = Calibration(
    window=0.96,
    hop=0.24,
    unit="utterance",
    non_intents=frozenset({"unknown", "background"}),
    temperature=1.4,
    thresholds={"up": 0.8, "down": 0.55},
    gate={"kind": "energy", "on": 0.6},
    rolling={"forgetting": 0.9},
    events={"refractory": 2.0, "min_duration": 0.1},
    measured={"accuracy": 0.91, "on": {"clips": 360}},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    directory = save(tmp_path)
    plain = read_model_info(directory)
    assert (plain.labels, plain.calibrated) == (LABELS, False)
    assert (plain.window, plain.hop, plain.unit, plain.temperature) == (None, None, "word", 1.0)
    assert plain.settings() == {}
    before = json.loads((directory / "config.json").read_text())
    write_intentd_key(directory, FULL)
    info = read_model_info(directory)
    assert info.calibration == FULL
    assert info.calibrated
    after = json.loads((directory / "config.json").read_text())
    assert after.pop("intentd")["version"] == 1
    assert after == before
    assert sorted(p.name for p in directory.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_the_key_survives_transformers(tmp_path: Path) -> None:
    directory = save(tmp_path / "a")
    write_intentd_key(directory, FULL)
    model = transformers.AutoModelForAudioClassification.from_pretrained(directory)
    model.save_pretrained(tmp_path / "b")
    transformers.AutoFeatureExtractor.from_pretrained(directory).save_pretrained(tmp_path / "b")
    assert read_model_info(tmp_path / "b").calibration == FULL


def test_the_settings_are_a_layer_of_config_toml(tmp_path: Path) -> None:
    directory = save(tmp_path)
    write_intentd_key(directory, FULL)
    info = read_model_info(directory)
    (tmp_path / "config.toml").touch()
    settings = load_settings(
        Sources(tmp_path / "config.toml"), environ={}, model=lambda _: ("test", info.settings())
    ).settings
    assert (settings.window.seconds, settings.window.hop) == (0.96, 0.24)
    assert (settings.gate.kind, settings.gate.on) == ("energy", 0.6)
    assert settings.rolling.forgetting == 0.9
    assert (settings.events.refractory, settings.events.min_duration) == (2.0, 0.1)
    assert settings.events.thresholds == {"up": 0.8, "down": 0.55}


def test_writing_refuses_what_reading_would(tmp_path: Path) -> None:
    directory = save(tmp_path)
    before = (directory / "config.json").read_bytes()
    with pytest.raises(UserError, match="thresholds names 'sideways'"):
        write_intentd_key(directory, Calibration(thresholds={"sideways": 0.5}))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_intentd_key(directory, Calibration(measured={"loss": float("nan")}))
    assert (directory / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("window", "1", 'intentd.window is "1"; it must be a number from 0.1 to 30'),
        ("window", True, "intentd.window is true"),
        ("window", 1e300, "intentd.window"),
        ("hop", 2.0, "intentd.hop is 2.0; it must be at most the window, 1 s"),
        ("unit", "phoneme", 'intentd.unit is "phoneme"; it must be "word" or "utterance"'),
        ("unit", ["word"], "intentd.unit"),
        ("non_intents", "unknown", 'intentd.non_intents is "unknown"; it must be a list'),
        ("non_intents", ["nothing"], "intentd.non_intents names 'nothing', which is no label"),
        ("temperature", 0, "intentd.temperature is 0; it must be a number from 0.01 to 100"),
        ("thresholds", {"up": 1.2}, "intentd.thresholds.up is 1.2; it must be a number from 0 to"),
        ("thresholds", {"upp": 0.2}, "intentd.thresholds names 'upp', which is no label"),
        ("thresholds", [0.5], "intentd.thresholds is \\[0.5\\]; it must be a table"),
        ("gate", {"on": [1]}, "intentd.gate.on is \\[1\\]; it must be a string, a finite number"),
        ("windw", 1.0, "intentd.windw is 1.0; it must be absent"),
        ("version", 2, "intentd.version is 2 and this intentd reads 1; bring intentd up to date"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(
    tmp_path: Path, key: str, value: Any, words: str
) -> None:
    directory = save(tmp_path)
    edit(directory, intentd={"version": 1, "window": 1.0, key: value})
    with pytest.raises(UserError, match=words) as caught:
        read_model_info(directory)
    assert str(caught.value).startswith(str(directory / "config.json"))
    assert "\n" not in str(caught.value)


def test_labels_without_names_are_called_as_transformers_does(tmp_path: Path) -> None:
    directory = save(tmp_path, labels=("LABEL_0", "LABEL_1"))
    edit(directory, id2label=None)
    assert read_model_info(directory).labels == ("LABEL_0", "LABEL_1")
    assert transformers.AutoConfig.from_pretrained(directory).id2label == {
        0: "LABEL_0",
        1: "LABEL_1",
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"0": "up"}, "at least two labels"),
        ({}, "at least two labels"),
        ({"0": "up", "2": "down"}, "id2label.1"),
        ({"0": "up", "1": 7}, "id2label.1 is 7"),
        ({"0": "up", "1": ""}, "id2label.1"),
        ({"0": "up", "1": "x" * 300}, "id2label.1"),
        ({"0": "up", "1": "up"}, "the label 'up' twice"),
        ({str(n): f"l{n}" for n in range(10_001)}, "at most 10000"),
        (["up", "down"], "must be a table"),
    ],
)
def test_labels_are_complete_and_distinct(table: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_labels(Fields(Path("config.json"), {"id2label": table}))


@given(st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=20, unique=True))
def test_any_text_may_be_a_label_and_keeps_its_place(labels: list[str]) -> None:
    table = {str(n): label for n, label in reversed(list(enumerate(labels)))}
    assert read_labels(Fields(Path("c"), {"id2label": table})) == tuple(labels)


SIZES: dict[str, dict[str, Any]] = {
    "wav2vec2": {},
    "wav2vec2-conformer": {},
    "hubert": {},
    "wavlm": {},
    "data2vec-audio": {},
    "unispeech": {},
    "unispeech-sat": {},
    "sew": {},
    "sew-d": {},
    "audio-spectrogram-transformer": {},
    "whisper": {
        "d_model": 512,
        "encoder_layers": 6,
        "encoder_ffn_dim": 2048,
        "encoder_attention_heads": 8,
    },
}


@pytest.mark.parametrize("kind", SIZES)
def test_the_size_estimate_holds_for_full_size_models(kind: str, tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(kind, num_labels=11, **SIZES[kind])
    with torch.device("meta"):
        model = transformers.AutoModelForAudioClassification.from_config(config)
    assert type(model).__name__ == HEADS[kind]
    config.architectures = [HEADS[kind]]
    config.save_pretrained(tmp_path)
    KINDS[kind]()[1].save_pretrained(tmp_path)
    if kind == "audio-spectrogram-transformer":
        edit(tmp_path, "preprocessor_config.json", num_mel_bins=128, max_length=1024)
    found = read_model_info(tmp_path).architecture
    held = sum(t.numel() for t in [*model.parameters(), *model.buffers()])
    assert found.parameters == pytest.approx(held, rel=0.1)
    if found.conv:
        lengths = model._get_feat_extract_output_lengths(torch.tensor([16_000, 32_123]))
        expected = [int(n) // found.squeeze for n in lengths]
        assert [found.frames(16_000), found.frames(32_123)] == expected


def test_reading_imports_neither_torch_nor_transformers(checkpoint: Checkpoint) -> None:
    code = (
        "import sys, daemon.model.description.info as i, daemon.model.classifier\n"
        "print(i.read_model_info(sys.argv[1]).labels[0])\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint("wav2vec2"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "up\n"), done.stderr


def test_reading_is_fast(checkpoint: Checkpoint) -> None:
    directory = checkpoint("wav2vec2")
    begin = time.perf_counter()
    for _ in range(20):
        read_model_info(directory)
    assert (time.perf_counter() - begin) / 20 < 0.02
