"""`intentd bench`: real processes, real figures, on a tiny model."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.making import speechlike, write_wav

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.cli import run
from daemon.commands.bench import report, sounds
from daemon.commands.bench.measure import sustained
from daemon.commands.bench.parent import Child
from daemon.commands.bench.shapes import SHAPES, make_shape
from daemon.model.description.info import read_model_info

SETTINGS = ["--set", "model.threads=1", "--set", "gate.kind=energy"]


@pytest.fixture(scope="module")
def measured(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """One small bench, as JSON, with its table and its plot beside it."""
    folder = tmp_path_factory.mktemp("bench")
    wav = write_wav(folder / "a.wav", speechlike(3.0))
    arguments = ["bench", str(plain_model), "--rounds", "1", "--seconds", "1.5", "--streams", "3,1"]
    arguments += ["--recording", str(wav), "--json", str(folder / "found.json"), *SETTINGS]
    # The package has a function of that name, too.
    module = importlib.import_module("daemon.commands.bench.measure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOWS", 4)
        patch.setattr(module, "FAST", 3)
        assert run([*arguments, "--plot", str(folder / "plot.png")]) == 0
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    found: dict[str, object] = json.loads((folder / "found.json").read_text())
    return found


def test_everything_is_measured(measured: dict[str, Any]) -> None:
    backends = {each["name"]: each for each in measured["backends"]}
    assert {"torch-cpu", "onnx", "openvino"} <= set(backends) and not measured["failed"]
    for each in backends.values():
        assert list(each["ms"]) == ["1", "4", "16"]
        for size, ms in each["ms"].items():
            assert ms > 0
            ratio = measured["pipeline"]["ms"] / ms
            assert each["times_pipeline"][size] == pytest.approx(ratio, rel=0.05)
    daemon = measured["daemon"]
    assert [each["streams"] for each in daemon["streams"]] == [1, 3]
    for each in daemon["streams"]:
        assert 0 < each["p50_ms"] <= each["p99_ms"] and each["lost"] == 0
        assert each["windows_per_second"] > 0 and each["cpu_ms_per_window"] > 0
        assert 0 < each["realtime_factor"] < 1
    assert daemon["hour_of_speech_seconds"] > 0
    assert set(measured["cpu_seconds_per_hour"]["intentd"]) == {"quiet", "speech", "music"}


def test_costs_have_a_spread(measured: dict[str, Any]) -> None:
    costs = {each["what"]: each for each in measured["costs"] if each["subject"] == "intentd"}
    sounds_of_an_hour = {f"an hour of {sound}" for sound in ("a quiet room", "speech", "music")}
    replay = "replay of an hour of speech, --jobs 1"
    assert costs.keys() >= {*sounds_of_an_hour, replay, "start to the first window", "--help"}
    for each in costs.values():
        assert 0 < each["min"] <= each["median"] <= each["max"]
    assert costs["an hour of a quiet room"]["median"] < costs["an hour of speech"]["median"]
    assert costs["--help"]["median"] < costs["start to the first window"]["median"]


def test_torch_counts_only_where_it_runs(measured: dict[str, Any]) -> None:
    """Each subject has its own process, so the graphs need less memory."""
    peak = {each["name"]: each["peak_mb"] for each in measured["backends"]}
    assert peak["onnx"] < 0.6 * peak["torch-cpu"]


def test_the_table_has_all_figures(measured: dict[str, Any]) -> None:
    table = report.text(measured)
    for each in measured["backends"]:
        assert each["runs"] in table
    assert "transformers' pipeline" in table
    for each in measured["costs"]:
        assert f"{each['median']:.2f}" in table and each["what"] in table
    assert len({len(line) for line in table.splitlines() if line.startswith("trans")}) == 1


def test_streams_are_sustained_while_nothing_is_lost_and_latency_holds() -> None:
    def figures(*rows: tuple[int, float, int]) -> dict[str, Any]:
        names = ("streams", "p99_ms", "lost")
        return {"daemon": {"streams": [dict(zip(names, row, strict=True)) for row in rows]}}

    assert sustained(figures((1, 20.0, 0), (10, 90.0, 0), (100, 400.0, 0))) == 10
    assert sustained(figures((1, 20.0, 0), (10, 90.0, 5))) == 1
    assert sustained(figures((1, 300.0, 0))) == 0


def test_scores_agree_with_transformers(
    plain_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wavs = [write_wav(tmp_path / f"{n}.wav", speechlike(6.0, seed=n)) for n in (1, 2)]
    arguments = ["bench", "--model", str(plain_model), "--set", "window.hop=0.02", *SETTINGS]
    for wav in wavs:
        arguments += ["--agree", str(wav)]
    assert run([*arguments, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["windows"] == 500
    ways = [row["way"] for row in found["ways"]]
    assert any("onnxruntime" in way and "batches of 16" in way for way in ways)
    assert ways[-1].startswith("whole daemon")
    for row in found["ways"]:
        # How far bf16 is off depends on the processor and, with random weights, has no bound.
        if "bf16" not in row["way"]:
            assert row["largest_difference"] < 1e-3, row
            assert row["same_best_label"] >= 0.995, row
    assert run([*arguments[:-2], "--set", "window.hop=1.0"]) == 2
    assert "500 are compared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--streams", "1,x"], "--streams"),
        (["--streams", "0"], "--streams"),
        (["--shape", "huge"], "--shape must be base or large"),
        (["a", "--model", "b"], "name one model"),
        (["no/such/model"], "no model directory"),
        (["--recording", "no.wav"], "no.wav"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and len(said.err.splitlines()) == 1 and not said.out


def test_without_matplotlib_the_plot_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert run(["bench", "--plot", "a.png"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_child_reports_why_it_can_not(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="not a model directory"),
        Child(
            kind="backend",
            model=str(tmp_path),
            backend="torch",
            threads=1,
            window=1.0,
            hop=0.25,
            batch=1,
            sizes=[1],
        ),
    ):
        pass
    with pytest.raises(RuntimeError, match="KeyError"), Child(kind="backend"):
        pass


def test_speech_comes_in_bouts_of_a_third_of_the_time() -> None:
    speech = speechlike(2.0)
    sound = sounds.bouts(speech, 60.0, 5.0)
    assert len(sound) == 60 * RATE
    loud = np.abs(sound.reshape(-1, RATE)).max(axis=1) > 0.01
    assert loud.sum() == 20 and not loud[0:5].any() and loud[5:15].all() and loud[35:45].all()
    assert np.abs(sounds.quiet(1.0)).max() < 0.005


def test_pauses_are_taken_out(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(np.arange(RATE) * 0.3)
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone, np.zeros(4 * RATE), tone]), RATE)
    assert len(sounds.speech_of(tmp_path / "a.wav")) == pytest.approx(2.3 * RATE, abs=1000)
    soundfile.write(tmp_path / "b.wav", np.zeros(400), RATE)
    with pytest.raises(UserError, match="half a second"):
        sounds.speech_of(tmp_path / "b.wav")


def test_a_shape_is_the_known_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "base", {"num_hidden_layers": 1, "conv_dim": (32,) * 7})
    info = read_model_info(make_shape("base", tmp_path))
    assert len(info.labels) == 12 and info.architecture.stride == 320
