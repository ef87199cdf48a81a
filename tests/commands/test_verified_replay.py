"""`[model] verifier` from settings to JSON lines, with a real network."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.making import TINY_LABELS, speechlike, write_wav
from support.small_verifier import small_verifier

import daemon
from daemon.assembly.setup import prepare
from daemon.cli import run
from daemon.commands.check import verifier_works
from daemon.config import Option, Sources
from daemon.messages import StreamInfo
from daemon.model.verifier.description import read_verifier

Line = dict[str, Any]


@pytest.fixture
def verified_model(word_model: Path, tmp_path: Path) -> Path:
    """Its verifier confirms the first label whatever it hears."""
    model = shutil.copytree(word_model, tmp_path / "model")
    bias = np.full(len(TINY_LABELS), -5.0)
    bias[0] = 5.0
    small_verifier(
        model / "verifier",
        TINY_LABELS,
        bias=bias.tolist(),
        changed={
            "verification": {"candidate": 0.01, "smoothed_weight": 0.0, "asks": 2},
            "thresholds": dict.fromkeys(TINY_LABELS, 0.9),
        },
    )
    return model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("INTENTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("INTENTD_MODEL__THREADS", "1")
    write_wav(tmp_path / "a.wav", speechlike(9, 16000, seed=1))


def replayed(model: Path, *options: str) -> list[Line]:
    """The JSON lines of a replay, without what the clock has a part in."""
    types = "output.types=prediction,event,rejection,summary"
    rest = ["--headless", "--jsonl", "out.jsonl", "--model", str(model), "--set", types]
    assert run(["replay", "a.wav", "--speed", "max", *rest, *options]) == 0
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "latency_ms"} for line in lines]


def told(lines: list[Line]) -> list[Line]:
    """What was decided, to 0.001 (batches round differently)."""
    return [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in line.items()}
        for line in lines
        if line["type"] in {"event", "rejection"}
    ]


def test_events_are_verified_and_rejections_told(verified_model: Path) -> None:
    lines = replayed(verified_model, "--set", "gate.kind=off")
    events = [line for line in lines if line["type"] == "event"]
    rejections = [line for line in lines if line["type"] == "rejection"]
    assert events or rejections
    assert all(line["verified"] >= 0.9 and line["intent"] == TINY_LABELS[0] for line in events)
    assert all(line["verified"] < 0.9 for line in rejections)
    assert lines[-1]["rejected"] == len(rejections) and lines[-1]["events"] == len(events)
    assert told(replayed(verified_model, "--set", "gate.kind=off")) == told(lines)


def test_off_leaves_no_trace_of_it(verified_model: Path, word_model: Path) -> None:
    off = replayed(verified_model, "--set", "model.verifier=off")
    assert told(off) == told(replayed(word_model))
    assert "rejected" not in off[-1]


def test_a_folder_serves_another_model(verified_model: Path, word_model: Path) -> None:
    folder = verified_model / "verifier"
    other = replayed(word_model, "--set", f"model.verifier={folder}")
    assert told(other) == told(replayed(verified_model))


def test_a_wrong_folder_is_one_sentence(
    word_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(word_model), "--set", f"model.verifier={tmp_path}"]
    assert run(["replay", "a.wav", "--headless", *options]) == 2
    assert "is no verifier" in capfd.readouterr().err


def test_check_tries_the_verifier(verified_model: Path) -> None:
    info = read_verifier(verified_model / "verifier")
    ok, text, _ = verifier_works(info)
    assert ok and "ms for each candidate" in text and str(info.directory) in text


def test_a_stream_cannot_be_made_without_the_verifier(verified_model: Path) -> None:
    """It would raise no event, and nothing would show it."""
    setup = prepare(Sources(options=(Option("model.path", "path", str(verified_model)),)))
    with pytest.raises(ValueError, match="needs it"):
        setup.new_stream(StreamInfo("a", 16000, 1, live=False), setup.load_gates())


def test_the_python_interface_verifies(verified_model: Path) -> None:
    settings = {"gate.kind": "off", "model.threads": 1}
    model = daemon.load_model(verified_model, settings=settings)
    *messages, summary = model.replay("a.wav")
    events = [each for each in messages if isinstance(each, daemon.Event)]
    assert isinstance(summary, daemon.Summary) and summary.rejected is not None
    assert summary.events == len(events) and summary.events + summary.rejected > 0
    assert all(each.verified is not None and each.verified >= 0.9 for each in events)
