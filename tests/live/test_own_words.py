"""Own words through a real microphone: recorded, trained, detected."""

from __future__ import annotations

import json
import queue
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
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
WORDS = ("banana",)
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
            env=mic.env | {"PYTHONPATH": PATH, "XDG_CONFIG_HOME": str(folder)},
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


TRAINING = str(Path(__file__).with_name("small_training.py"))
"""`intentd-train` with a small pack."""
SHORT = ("--takes", str(TAKES), "--near", "0", "--talk", "0", "--room", "1")
RARER = ("--alarms-per-hour", "100")
"""A minute of talk tells nothing of rarer alarms."""


def say_takes(mic: VirtualMic, folder: Path, program: Program, words: int) -> None:
    """Say what the recorder asks for, again where it asks again."""
    for number in range(TAKES * words):
        word = program.wait_for(r"^Say: (\w+) \(").group(1)
        for attempt in range(3):
            mic.play(spoken(folder, word, number % TAKES + attempt)).wait(20)
            if program.wait_for(r"is kept|again, please").group(0) == "is kept":
                break
    program.wait_for(r"Takes: .*and nowhere else")


def check_that_it_listens(
    mic: VirtualMic, folder: Path, program: Program, words: Sequence[str]
) -> None:
    """Each word is heard once it listens."""
    # The daemon chooses its runtime first, and does not say when it is done.
    deadline = time.monotonic() + 150
    while not program.hears(words[0], spoken(folder, words[0], TAKES), 5):
        assert time.monotonic() < deadline, program.seen
    program.let_pass(4.0)  # what was played before it listened may come late
    for word in (*words[1:], *words):
        mic.play(spoken(folder, word, TAKES)).wait(20)
        assert program.wait_for(rf"\b({'|'.join(words)})\b", 20).group(1) == word


def test_words_are_recorded_trained_and_detected(mic: VirtualMic, tmp_path: Path) -> None:
    words = tmp_path / "words"
    teaching = Program(
        mic, tmp_path,
        *(TRAINING, "teach", *WORDS, *SHORT, *RARER, "--folder", str(words)),
        *("--device", "VirtualMic", "--lines", "--output", "model"),
    )  # fmt: skip
    try:
        say_takes(mic, tmp_path, teaching, len(WORDS))
        teaching.wait_for(r"Of ten times that you say", 240)
        teaching.wait_for(r"q ends listening")
        check_that_it_listens(mic, tmp_path, teaching, WORDS)
    finally:
        teaching.process.terminate()
    assert teaching.process.wait(30) == 0
    entries = [json.loads(line) for line in (words / "takes.jsonl").read_text().splitlines()]
    assert sorted(entry["label"] for entry in entries) == sorted([*WORDS * TAKES, "_room"])


def test_the_first_commands_of_the_page_work(mic: VirtualMic, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    block = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    assert block is not None
    record, train, live = (shlex.split(line) for line in block.group(1).splitlines())
    assert (record[:2], train[:2]) == (["intentd-train", "record"], ["intentd-train", "words"])
    assert live[0] == "intentd"
    words = record[2:]
    device = ("--device", "VirtualMic")
    recording = Program(mic, tmp_path, TRAINING, *record[1:], *SHORT, *device, "--lines")
    try:
        say_takes(mic, tmp_path, recording, len(words))
        assert recording.process.wait(60) == 0
    finally:
        recording.process.kill()
    training = Program(mic, tmp_path, TRAINING, *train[1:], *RARER)
    training.wait_for(r"try: intentd live --model runs/words", 240)
    assert training.process.wait(30) == 0
    listening = Program(mic, tmp_path, "-m", "daemon", *live[1:], *device, "--headless")
    try:
        check_that_it_listens(mic, tmp_path, listening, words)
    finally:
        listening.process.terminate()
    assert listening.process.wait(30) == 0
