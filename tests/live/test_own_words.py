"""Own words through a real microphone: speech played into it is recorded, trained, and heard."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.speech_packages import missing_synthesisers
from support.virtual_mic import VirtualMic, missing_packages

from train.data.synthesis import Voice, speak

MISSING = [*missing_packages(), *missing_synthesisers()]
pytestmark = [
    pytest.mark.timed,  # a busy machine loses sound
    pytest.mark.live,
    pytest.mark.skipif(bool(MISSING), reason=f"needs the packages {' '.join(MISSING)}"),
]
ROOT = Path(__file__).resolve().parents[2]
PATH = f"{ROOT}:{ROOT / 'tests'}"
WORDS = ("banana", "computer")
TAKES = 3


@pytest.fixture
def mic() -> Iterator[VirtualMic]:
    with VirtualMic() as running:
        yield running


def spoken(folder: Path, word: str, number: int) -> Path:
    """A word by one voice, a little different each time, with quiet around."""
    voice = Voice("espeak-ng", "en-us+m3", 1.0 + 0.03 * number, 0.9 + 0.04 * number)
    quiet = np.zeros(8000, np.float32)
    path = folder / f"{word}-{number}.wav"
    soundfile.write(path, np.concatenate([quiet, 0.5 * speak(word, voice), quiet]), 16_000)
    return path


class Program:
    """A command whose lines can be waited for."""

    def __init__(self, mic: VirtualMic, folder: Path, *command: str) -> None:
        self.mic = mic
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=mic.env
            | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "XDG_CONFIG_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def hears(self, word: str, path: Path, timeout: float) -> bool:
        """Whether it names the word when this is played."""
        self.mic.play(path).wait(20)
        try:
            self.wait_for(rf"\b{word}\b", timeout)
        except AssertionError:
            return False
        return True

    def let_pass(self, seconds: float) -> None:
        """Pass over the lines of so many seconds."""
        time.sleep(seconds)
        while not self.lines.empty():
            self.seen.append(self.lines.get())

    def wait_for(self, pattern: str, timeout: float = 120.0) -> re.Match[str]:
        """The next line that matches."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} in {self.seen}") from None
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found


def test_words_are_recorded_trained_and_detected(mic: VirtualMic, tmp_path: Path) -> None:
    words = tmp_path / "words"
    teaching = Program(
        mic, tmp_path,
        *(str(Path(__file__).with_name("small_training.py")), "teach", *WORDS),
        *("--folder", str(words), "--takes", str(TAKES), "--near", "0", "--talk", "0"),
        *("--room", "1", "--device", "VirtualMic", "--lines", "--output", "model"),
        *("--alarms-per-hour", "100"),  # a minute of talk tells nothing of rarer ones
    )  # fmt: skip
    try:
        for number in range(TAKES * len(WORDS)):
            word = teaching.wait_for(r"^Say: (\w+) \(").group(1)
            for attempt in range(3):
                mic.play(spoken(tmp_path, word, number % TAKES + attempt)).wait(20)
                if teaching.wait_for(r"is kept|again, please").group(0) == "is kept":
                    break
        teaching.wait_for(r"Takes: .*and nowhere else")
        teaching.wait_for(r"Of ten times that you say", 240)
        teaching.wait_for(r"q ends listening")
        # The daemon chooses its runtime first, and does not say when it is done.
        deadline = time.monotonic() + 150
        while not teaching.hears(WORDS[0], spoken(tmp_path, WORDS[0], TAKES), 5):
            assert time.monotonic() < deadline, teaching.seen
        teaching.let_pass(4.0)  # what was played before it listened may come late
        for word in (WORDS[1], *WORDS):
            mic.play(spoken(tmp_path, word, TAKES)).wait(20)
            assert teaching.wait_for(rf"\b({'|'.join(WORDS)})\b", 20).group(1) == word
    finally:
        teaching.process.terminate()
    assert teaching.process.wait(30) == 0
    entries = [json.loads(line) for line in (words / "takes.jsonl").read_text().splitlines()]
    assert sorted(entry["label"] for entry in entries) == sorted([*WORDS * TAKES, "_room"])
