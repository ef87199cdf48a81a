"""The whole daemon on a real microphone that plays the demo recording."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from support.virtual_mic import VirtualMic, missing_packages

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
    ),
]
BUNDLED = Path(str(files("daemon"))) / "bundled"
HOP = 0.24
Line = dict[str, Any]


def events(text: str) -> list[Line]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["type"] == "event"]


def test_live_detects_what_the_replay_detects(tmp_path: Path) -> None:
    daemon = [sys.executable, "-m", "daemon"]
    replayed = subprocess.run(
        [*daemon, "replay", "--demo", "--speed", "max", "--jsonl", "-"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    out = tmp_path / "live.jsonl"
    with VirtualMic() as mic:
        live = subprocess.Popen(
            [*daemon, "live", "--headless", "--jsonl", str(out), "--set", "audio.rate=48000"],
            env=mic.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline:
            assert live.poll() is None, live.communicate()
            time.sleep(0.1)
        mic.play(BUNDLED / "demo.flac").wait(60)
        time.sleep(1.5)
        live.send_signal(signal.SIGINT)
        _, errors = live.communicate(timeout=20)
    assert live.returncode == 130, errors
    expected, heard = events(replayed.stdout), events(out.read_text())
    assert expected
    assert [e["intent"] for e in heard] == [e["intent"] for e in expected], errors
    # The recording began at some moment of the stream: take it from the events themselves.
    shifts = [h["at_stream"] - e["at_stream"] for h, e in zip(heard, expected, strict=True)]
    begin = sorted(shifts)[len(shifts) // 2]
    assert max(abs(shift - begin) for shift in shifts) <= HOP + 0.001, shifts
    summary = json.loads(out.read_text().splitlines()[-1])
    assert summary["type"] == "summary"
    assert summary["samples_lost"] == 0
