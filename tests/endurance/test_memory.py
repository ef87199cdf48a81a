"""Memory stays where it was, however long the stream."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

MEGABYTE = 1 << 20


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "minutes", [4, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_memory_does_not_grow_with_the_stream(minutes: int, tmp_path: Path) -> None:
    """The demo over and over at full speed stays within 30 MB.

    It is compared with what it was after a minute of audio.
    """
    demo = Path(str(files("daemon"))) / "bundled" / "demo.flac"
    samples, rate = soundfile.read(demo, dtype="int16")
    long = tmp_path / "long.wav"
    with soundfile.SoundFile(long, "w", rate, 1, subtype="PCM_16") as out:
        for _ in range(minutes * 60 * rate // len(samples)):
            out.write(np.asarray(samples))
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "replay", str(long), "--speed", "max", "--jsonl", "-"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = last = 0
    for line in process.stdout:
        # The reader is slower than the writer: looking at some lines is enough.
        if not line.startswith('{"type":"prediction"'):
            continue
        at = json.loads(line)["end"]
        if first == 0 and at >= 60:
            first = resident(process.pid)
        elif first and at >= minutes * 60 - 5 and process.poll() is None:
            last = max(last, resident(process.pid))
    assert process.wait() == 0
    assert first > 0
    assert last > 0
    assert last - first < 30 * MEGABYTE, f"{first / MEGABYTE:.0f} MB, then {last / MEGABYTE:.0f} MB"
