"""The bundled model on the bundled recording: its words, nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import run

BUNDLED = Path(str(files("daemon"))) / "bundled"
DEMO = BUNDLED / "demo.flac"
Line = dict[str, Any]


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def said() -> list[Line]:
    """The intents spoken in the demo recording, in order: intent, start, end."""
    lines: list[Line] = json.loads((BUNDLED / "demo.json").read_text())
    return [line for line in lines if line["intent"]]


def middle(line: Line) -> float:
    return (float(line["start"]) + float(line["end"])) / 2


def replay(tmp_path: Path, *arguments: str) -> list[Line]:
    out = tmp_path / "out.jsonl"
    out.unlink(missing_ok=True)
    assert run(["replay", *arguments, "--headless", "--jsonl", str(out)]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def of(lines: Sequence[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["type"] == kind]


def test_every_word_of_the_demo_is_detected_once_and_nothing_else(tmp_path: Path) -> None:
    events = of(replay(tmp_path, "--demo", "--speed", "max"), "event")
    assert [e["intent"] for e in events] == [s["intent"] for s in said()]
    for event, truth in zip(events, said(), strict=True):
        assert middle(event) == pytest.approx(middle(truth), abs=0.3), event


@pytest.mark.parametrize("block_ms", ["4", "312.5"])  # blocks of 64 and of 5000 samples
def test_the_demo_says_the_same_in_any_blocks_and_company(tmp_path: Path, block_ms: str) -> None:
    plain = replay(tmp_path, str(DEMO), "--speed", "max")
    other = tmp_path / "beside.flac"
    other.write_bytes(DEMO.read_bytes())
    together = replay(
        tmp_path, str(DEMO), str(other), "--speed", "max", "--set", f"audio.block_ms={block_ms}"
    )
    mine = [line for line in together if line["stream"] == str(DEMO)]
    assert len(mine) == len(plain)
    for a, b in zip(plain, mine, strict=True):
        same_line(a, b)


def same_line(a: Line, b: Line) -> None:
    assert a.keys() == b.keys()
    for key in a.keys() - {"latency_ms", "top"}:
        if key in {"score", "scores", "rolling"} and a[key] is not None:
            assert a[key] == pytest.approx(b[key], abs=0.001)
        else:
            assert a[key] == b[key], key
    for x, y in zip(a.get("top", ()), b.get("top", ()), strict=True):
        assert x["score"] == pytest.approx(y["score"], abs=0.001)


def test_the_summary_accounts_for_every_sample(tmp_path: Path) -> None:
    lines = replay(tmp_path, "--demo", "--speed", "max")
    (summary,) = of(lines, "summary")
    assert summary == lines[-1]
    assert summary["samples_captured"] == 30 * 16000
    assert summary["samples_classified"] + summary["samples_gated"] == summary["samples_captured"]
    assert summary["samples_lost"] == 0
    assert summary["windows"] == len(of(lines, "prediction"))
    assert summary["events"] == len(of(lines, "event"))
    assert summary["top"][0]["intent"] in {s["intent"] for s in said()}
