"""`intentd replay` end to end: processes, a small network, real files.

A process costs seconds to start, so what can be shown within this one is: `run` is the function
that the process calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from support.making import TINY_LABELS, speechlike, write_wav
from support.replaying import ROOT, Line, command, lines_of, of_stream, replay, same

from daemon.cli import run

pytestmark = pytest.mark.waits


def test_the_lines_are_those_of_the_contract(alone: dict[str, list[Line]]) -> None:
    lines = alone["a.wav"]
    kinds = {line["type"] for line in lines}
    assert kinds == {"prediction", "event", "summary"}
    predictions = [line for line in lines if line["type"] == "prediction"]
    assert [p["start"] for p in predictions] == [round(0.24 * k, 3) for k in range(19)]
    assert {p["gated"] for p in predictions} == {True, False}
    for line in predictions:
        assert list(line) == [
            "type", "stream", "start", "end", "intent", "score", "scores", "rolling", "gated",
            "latency_ms",
        ]  # fmt: skip
        assert tuple(line["rolling"]) == TINY_LABELS
        assert line["end"] == pytest.approx(line["start"] + 1.0)
        if line["gated"]:
            assert line["intent"] is line["score"] is line["scores"] is line["latency_ms"] is None
        else:
            assert sum(line["scores"].values()) == pytest.approx(1.0, abs=1e-4)
            assert line["score"] == max(line["rolling"].values())
    summary = lines[-1]
    assert list(summary)[:6] == ["type", "stream", "seconds", "windows", "gated", "events"]
    assert summary["windows"] == len(predictions)
    assert summary["events"] == sum(line["type"] == "event" for line in lines) > 0
    assert summary["samples_captured"] == round(4.5 * 16000)
    assert summary["samples_captured"] == summary["samples_classified"] + summary["samples_gated"]
    assert summary["samples_lost"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "1"],
        ["--speed", "2.5", "--set", "audio.block_ms=4"],
        ["--speed", "max", "--set", "audio.block_ms=4"],  # 64 samples
        ["--speed", "max", "--set", "audio.block_ms=312.5"],  # 5,000 samples
        ["--speed", "max", "--set", "model.max_batch=1"],
    ],
    ids=["speed 1", "speed 2.5", "blocks of 64", "blocks of 5000", "one by one"],
)
def test_a_replay_repeats_at_any_speed_and_in_any_blocks(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path, arguments: list[str]
) -> None:
    begun = time.monotonic()
    lines = replay(word_model, tmp_path, "a.wav", *arguments)
    took = time.monotonic() - begun
    same(lines, alone["a.wav"])
    if arguments[1] == "1":
        assert took >= 4.5


def test_a_replay_repeats_beside_others(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path
) -> None:
    lines = replay(word_model, tmp_path, "c.wav", "b.wav", "a.wav", "c.wav", "--speed", "max")
    same(of_stream(lines, "a.wav"), alone["a.wav"])
    same(of_stream(lines, "b.wav"), alone["b.wav"])


def test_settings_reach_the_path(word_model: Path, tmp_path: Path) -> None:
    usual = replay(word_model, tmp_path, "c.wav", "--speed", "max")
    off = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "gate.kind=off")
    assert usual[-1]["gated"] > 0 and off[-1]["gated"] == 0
    hop = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "window.hop=0.5")
    assert [p["start"] for p in hop if p["type"] == "prediction"][:3] == [0.0, 0.5, 1.0]
    deaf = replay(
        word_model, tmp_path, "c.wav", "--speed", "max",
        "--set", "events.threshold=1", "--set", "events.thresholds.up=1",
    )  # fmt: skip
    assert usual[-1]["events"] > 0 and deaf[-1]["events"] == 0
    wide = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "rolling.windows=9")
    assert [w["rolling"] for w in wide[:-1] if "rolling" in w] != [
        u["rolling"] for u in usual[:-1] if "rolling" in u
    ]
    right = replay(word_model, tmp_path, "b.wav", "--speed", "max", "--set", "audio.channel=2")
    mixed = replay(word_model, tmp_path, "b.wav", "--speed", "max")
    assert right != mixed


def test_overruling_the_model_is_warned_of(
    word_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "gate.kind=off")
    assert '--set gate.kind sets gate.kind = "off" in place of the "energy"' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("left", "seconds"), [(0.0, 6.0), (1e-4, 6.0), (1e-2, 6.0), (1e-4, 0.8)])
def test_channels_that_cancel_are_one_warning_and_not_a_quiet_one_too(
    word_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    left: float,
    seconds: float,
) -> None:
    """What channels that cancel leave is quiet: the volume is not at fault.

    left: amplitude of what does not cancel.
    """
    sound = speechlike(seconds, 16000, seed=5) * np.float32(0.3)
    rest = (left * np.random.default_rng(1).standard_normal(len(sound))).astype(np.float32)
    write_wav(tmp_path / "inverted.wav", np.stack([sound, rest - sound], axis=1))
    arguments = ("--speed", "max", "--set", "gate.kind=silero")
    replay(word_model, tmp_path, str(tmp_path / "inverted.wav"), *arguments)
    warnings = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "warning" in line and "gate.kind" not in line
    ]
    assert len(warnings) == 1, warnings
    assert "the channels cancel each other" in warnings[0]


def test_only_lines_of_the_types_asked_for_are_written(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path
) -> None:
    some = ["--set", "output.types=event,summary"]
    lines = replay(word_model, tmp_path, "a.wav", "--speed", "max", *some)
    same(lines, [line for line in alone["a.wav"] if line["type"] in {"event", "summary"}])
    assert [line["type"] for line in lines].count("event") > 0


def test_standard_input_is_a_stream(alone: dict[str, list[Line]], word_model: Path) -> None:
    with Path("a.wav").open("rb") as sound:
        result = subprocess.run(
            command("replay", "-", "--speed", "max", "--jsonl", "-", "--model", str(word_model)),
            stdin=sound,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert (result.returncode, result.stderr) == (0, "")
    lines = lines_of(result.stdout)
    assert {line["stream"] for line in lines} == {"-"}
    same([{**line, "stream": "a.wav"} for line in lines], alone["a.wav"])


def test_headless_says_events_and_a_summary_on_standard_output(
    alone: dict[str, list[Line]], word_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "a.wav", "--speed", "max", "--model", str(word_model), "--headless"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    events = [line for line in alone["a.wav"] if line["type"] == "event"]
    lines = said.out.splitlines()
    assert [line.split()[1] for line in lines[: len(events)]] == [e["intent"] for e in events]
    top = alone["a.wav"][-1]["top"][0]["intent"]
    assert lines[len(events)].startswith(f"a.wav: {top} ")


def test_the_lines_do_not_depend_on_how_many_batches_run_at_once(
    word_model: Path, tmp_path: Path
) -> None:
    """Byte for byte, latency apart, in the order of all streams together."""
    found = []
    for jobs in ("1", "2", "5"):
        file = tmp_path / f"{jobs}.jsonl"
        arguments = ["a.wav", "b.wav", "c.wav", "--speed", "max", "--headless", "--jobs", jobs]
        assert run(["replay", *arguments, "--model", str(word_model), "--jsonl", str(file)]) == 0
        found.append([without_latency(json.loads(line)) for line in file.open()])
    assert {line["stream"] for line in found[0]} == {"a.wav", "b.wav", "c.wav"}
    assert found[1] == found[0]
    assert found[2] == found[0]


def without_latency(line: Line) -> Line:
    return {key: value for key, value in line.items() if key != "latency_ms"}
