"""`intentd replay` in this process and in its own, and lines to compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from daemon.cli import run

ROOT = Path(__file__).resolve().parents[2]
Line = dict[str, Any]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *arguments]


def lines_of(text: str) -> list[Line]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def replay(model: Path, tmp_path: Path, *arguments: str, status: int = 0) -> list[Line]:
    """The JSON lines of a replay in this process."""
    out = tmp_path / "out.jsonl"
    out.unlink(missing_ok=True)
    got = run(["replay", *arguments, "--model", str(model), "--headless", "--jsonl", str(out)])
    assert got == status
    return lines_of(out.read_text())


def of_stream(lines: list[Line], stream: str) -> list[Line]:
    return [line for line in lines if line["stream"] == stream]


def same(one: list[Line], other: list[Line]) -> None:
    """The same lines, latency apart; probabilities to within 0.001."""
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        a, b = dict(first), dict(second)
        for line in (a, b):
            line.pop("latency_ms", None)
        for key in ("score", "scores", "rolling", "top"):
            assert _close(a.pop(key, None), b.pop(key, None)), (key, a, b)
        assert a == b


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 0.001
    return bool(a == b)
