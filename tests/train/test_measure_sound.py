"""The command of docs/sound.md: what faults of sound cost in words."""

from __future__ import annotations

import io
import re
import shlex
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, ClassLabel, Features, Value
from support.forked import run_forked
from support.making import TINY_LABELS, speechlike

import daemon
from daemon.base.audio import RATE
from tools import measure_sound
from train.data.split import part_of
from train.recipe import SplitSection

ROOT = Path(__file__).resolve().parents[2]
WORDS = [label for label in TINY_LABELS if label != "background"]


def commands() -> list[list[str]]:
    """Those of the page, as lists of arguments."""
    page = (ROOT / "docs" / "sound.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def clip(seed: int) -> bytes:
    """Half a second like speech in the middle of a second of silence."""
    samples = np.zeros(RATE, np.float32)
    samples[RATE // 4 : 3 * RATE // 4] = speechlike(0.5, RATE, seed=seed)
    held = io.BytesIO()
    soundfile.write(held, samples, RATE, format="WAV")
    return held.getvalue()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    features = Features(
        {
            "audio": Audio(sampling_rate=RATE),
            "label": ClassLabel(names=WORDS),
            "speaker": Value("string"),
        }
    )
    rows = [
        {
            "audio": {"bytes": clip(number), "path": f"{number}.wav"},
            "label": number % len(WORDS),
            "speaker": f"speaker-{number}",
        }
        for number in range(120)
    ]
    (root / "speech_commands").mkdir()
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    pq.write_table(table, root / "speech_commands" / "train.parquet")
    return root


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_tables_are_measured(
    command: list[str], recordings: Path, word_model: Path, tmp_path: Path
) -> None:
    python, tool, *arguments = command
    assert (python, tool) == ("python", "tools/measure_sound.py")
    arguments[arguments.index("--root") + 1] = str(recordings)
    done = run_forked(
        str(ROOT / tool),
        *arguments,
        "--model",
        word_model,
        *("--words", 2, "--pairs", 3),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^\| ([^|]+) \| (\d+ of \d+), ", done.stdout, re.MULTILINE))
    counts = {name: int(text.split(" of ")[1]) for name, text in rows.items()}
    assert counts["offset of 0.3"] == counts["-46 dBFS"] == 2 * len(WORDS)
    assert counts["0.15 s"] == 2 * 3
    assert len(re.findall(r"^\|---", done.stdout, re.MULTILINE)) == 4


def test_words_are_of_speakers_to_test_with(recordings: Path) -> None:
    found = measure_sound.clear_words(recordings, WORDS, 100)
    test = [n for n in range(120) if part_of(f"speaker-{n}", SplitSection()) == "test"]
    assert {label: len(each) for label, each in found.items()} == {
        label: sum(n % len(WORDS) == number for n in test) for number, label in enumerate(WORDS)
    }
    for word in (word for each in found.values() for word in each):
        assert np.abs(word).max() == pytest.approx(1.0)
        assert len(word) / RATE == pytest.approx(0.6, abs=0.05)


def test_detected_words_are_counted_and_others_are_wrong() -> None:
    demo = Path(str(files("daemon"))) / "bundled" / "demo.flac"
    sound, rate = soundfile.read(demo, dtype="float32")
    assert rate == RATE
    model = daemon.load_model()
    first, *rest = (m.intent for m in model.replay(demo) if isinstance(m, daemon.Event))
    count = len(rest)
    assert count > 3
    found = measure_sound.detected(model, [(sound, [*rest, "nothing"]), (sound, [first, *rest])])
    assert found == (2 * count + 1, 2 * count + 2, 1)
