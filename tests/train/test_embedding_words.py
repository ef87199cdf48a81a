"""The tool that measures an encoder by own words, at small size."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, ClassLabel, Features, Value
from support.forked import run_forked
from support.train_helpers import RATE, tiny_base

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("speech", "speaker", "signal", "process", "print", "open", "close", "project")


def take_of(number: int, seed: int) -> np.ndarray:
    """A tone whose pitch says which word it is, with silence around it."""
    rng = np.random.default_rng((seed, number))
    time = np.arange(RATE // 2) / RATE
    tone = np.sin(2 * np.pi * (300 + 350 * number) * rng.uniform(0.98, 1.02) * time)
    voice = np.pad(0.2 * tone * np.hanning(len(time)), RATE // 4)
    return np.asarray(voice + 0.0005 * rng.standard_normal(len(voice)), np.float32)


def encoded(sound: np.ndarray) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, sound, RATE, format="FLAC")
    return held.getvalue()


def write(path: Path, rows: list[dict[str, object]], features: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), path)


def recordings(root: Path) -> None:
    """Four people with twelve takes of eight words; hiss as talk; noise."""
    rows: list[dict[str, object]] = [
        {
            "audio": {"bytes": encoded(take_of(n, 100 * person + take)), "path": "x"},
            "label": n,
            "speaker": f"person-{person}",
            "take": take,
        }
        for person in range(4)
        for n in range(len(WORDS))
        for take in range(12)
    ]
    own = {"label": ClassLabel(names=list(WORDS)), "speaker": Value("string")}
    write(
        root / "own_words" / "train.parquet",
        rows,
        Features({"audio": Audio(sampling_rate=RATE), **own, "take": Value("int32")}),
    )
    rng = np.random.default_rng(0)
    for name in ("train", "calibration"):
        talk: list[dict[str, object]] = []
        for number in range(20):
            level = np.repeat(rng.uniform(0.001, 0.1, 30), RATE // 10)
            sound = level * rng.standard_normal(len(level))
            path = f"{name}-{number}"
            audio = {"bytes": encoded(sound), "path": path}
            talk.append({"audio": audio, "speaker": path})
        features = Features({"audio": Audio(sampling_rate=RATE), "speaker": Value("string")})
        write(root / "talk" / f"{name}.parquet", talk, features)
    (root / "noise").mkdir()
    for name in ("kitchen", "rain"):
        hiss = 0.02 * rng.standard_normal(5 * RATE)
        soundfile.write(root / "noise" / f"{name}.flac", hiss, RATE)


def test_words_that_differ_are_told_from_talk_and_halves_share_no_person(tmp_path: Path) -> None:
    recordings(tmp_path)
    base = tiny_base(tmp_path / "encoder")
    done = run_forked(
        str(ROOT / "tools" / "embedding_words.py"),
        *(
            base,
            "--root",
            tmp_path,
            "--negatives",
            200,
            "--takes",
            10,
            "--snr",
            30,
            "--half",
            "all",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 people, three words each; 0.02 h of talk")
    found = re.search(r": 10 takes, 30 dB: (\d+) / (\d+) / (\d+) \(mean", done.stdout)
    assert found is not None, done.stdout
    median, upper, worst = (int(value) for value in found.groups())
    assert median <= upper <= worst
    # Tones against a hiss are told apart even by a random encoder.
    assert median <= 50
