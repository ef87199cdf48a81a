"""Build train/world/world.parquet, the speech and noise that ship.

They ship with intentd-train.

    python tools/build_world.py --root DATA [--output train/world/world.parquet]

DATA holds talk/train.parquet, other_speech/train.parquet and noise/*.flac. Speakers come first:
round k takes each speaker's k-th recording until the part is full, lengths near three seconds
before others. Speech stays coded as it came. Buckets 0 and 1 of the speaker's hash
(train/data/split.py) become the part "held-out". The same input gives the same file.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr

from train.data.phonemes import PROGRAM, phonemes_of_many
from train.data.split import bucket
from train.world import HELD_OUT, NOISE, RATE, SCHEMA, SINGLE, TALK, TRAIN

NOISE_LEVEL = 0.9
"""libsndfile's compression level: 31 kbit/s of Opus at 16 kHz mono."""
MEGABYTES = {
    (TRAIN, TALK): 9.0,
    (TRAIN, SINGLE): 2.0,
    (HELD_OUT, TALK): 7.0,
    (HELD_OUT, SINGLE): 1.0,
}
NOISE_SECONDS = {TRAIN: 24.0, HELD_OUT: 12.0}
"""Of each noise: its beginning and what follows it."""
NOT_INCLUDED = ("kitchen.flac",)
"""Noises that evaluation keeps for itself."""
WANTED_SECONDS = 3.0
LONGEST = 16.0
PER_WORD = 60
"""Recordings of one single word or phrase, of all people together."""
ARABIC = {
    "zero": "صفر", "one": "واحد", "two": "اثنان", "three": "ثلاثة", "four": "أربعة",
    "five": "خمسة", "six": "ستة", "seven": "سبعة", "eight": "ثمانية", "nine": "تسعة",
    "right": "يمين", "left": "يسار", "up": "فوق", "down": "تحت", "forward": "أمام",
    "backward": "خلف", "yes": "نعم", "no": "لا", "ok": "موافق", "start": "ابدأ",
    "stop": "توقف", "enable": "تفعيل", "disable": "تعطيل", "next": "التالي",
    "previous": "السابق", "open": "افتح", "close": "أغلق", "undo": "تراجع", "cancel": "إلغاء",
    "move": "تحريك", "rotate": "تدوير", "zoom in": "تكبير", "zoom out": "تصغير",
    "send": "إرسال", "receive": "استقبال", "enter": "أدخل", "digit": "رقم",
    "direction": "اتجاه", "options": "خيارات", "record": "تسجيل",
}  # fmt: skip
"""The words of Arabic Speech Commands, whose folders are named in English."""
VOICES = {"zh-CN": "cmn", "zh-TW": "cmn", "zh-HK": "yue", "en": "en-us"}
"""espeak-ng's names where they are not the language's; what it does not speak has no phonemes."""
SPOKEN = {
    "amelia": "amelia", "athena": "athena", "computer": "computer",
    "heychatterbox": "hey chatterbox", "heycomputer": "hey computer",
}  # fmt: skip
"""What is said in each folder of Precise's recordings; what others hold is not known."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recording that may be taken."""

    data: bytes
    path: str
    text: str
    language: str
    source: str
    speaker: str
    kind: str

    @property
    def key(self) -> str:
        return self.speaker or self.path

    @property
    def part(self) -> str:
        return HELD_OUT if bucket(self.key, 10) < 2 else TRAIN

    @property
    def order(self) -> tuple[float, bytes]:
        seconds = soundfile.info(io.BytesIO(self.data)).duration
        return round(abs(seconds - WANTED_SECONDS)), sha1(self.path.encode()).digest()


def sentences(root: Path) -> Iterator[Candidate]:
    """The sentences of talk/train.parquet."""
    for row in pq.read_table(root / "talk" / "train.parquet").to_pylist():
        audio = row["audio"]
        yield Candidate(
            audio["bytes"],
            audio["path"],
            row["text"],
            row["language"],
            row["source"],
            row["speaker"],
            TALK,
        )


def words(root: Path) -> Iterator[Candidate]:
    """Single words and phrases of other_speech with known text.

    From other_speech/train.parquet.
    """
    for row in pq.read_table(root / "other_speech" / "train.parquet").to_pylist():
        audio, source = row["audio"], row["source"]
        folder = audio["path"].split("/")
        if source == "arabic":
            text, language = ARABIC[folder[1]], "ar"
        elif source == "custom_keywords":
            text, language = folder[1].replace("_", " "), "en"
        else:
            text, language = SPOKEN.get(folder[0], ""), folder[1][:2]
        if text:
            yield Candidate(
                audio["bytes"], audio["path"], text, language, source, row["speaker"], SINGLE
            )


def noises(root: Path) -> Iterator[dict[str, Any]]:
    """Rows of the noises, each in two pieces."""
    for path in sorted((root / "noise").glob("*.flac")):
        if path.name in NOT_INCLUDED:
            continue
        samples, begin = decode(path.read_bytes()), 0
        for part, seconds in NOISE_SECONDS.items():
            piece = samples[begin : begin + round(seconds * RATE)]
            begin += len(piece)
            name = f"{path.stem}-{part}"
            yield row_of(name, opus(piece, NOISE_LEVEL, name), part, NOISE, source="noise")


def chosen(
    candidates: Iterable[Candidate], part: str, kind: str, room: float
) -> Iterator[dict[str, Any]]:
    """Rows of a part and a kind until `room` bytes are full.

    One recording of each speaker after the other. Where the speaker is unknown, those of one text
    count as one speaker's.
    """
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.part == part and candidate.kind == kind:
            groups[candidate.speaker or f"{candidate.source}/{candidate.text}"].append(candidate)
    queues = {key: sorted(each, key=lambda c: c.order) for key, each in groups.items()}
    order = sorted(queues, key=lambda key: (queues[key][0].order[0], sha1(key.encode()).digest()))
    said: dict[str, int] = defaultdict(int)
    for turn in range(max(map(len, queues.values()))):
        for key in order:
            if turn >= len(queues[key]):
                continue
            one = queues[key][turn]
            if one.kind == SINGLE:
                said[one.text] += 1
                if said[one.text] > PER_WORD:
                    continue
            if soundfile.info(io.BytesIO(one.data)).duration > LONGEST:
                continue
            room -= len(one.data)
            if room < 0:
                return
            yield row_of(
                one.path,
                one.data,
                part,
                one.kind,
                text=one.text,
                language=one.language,
                source=one.source,
                speaker=one.speaker,
            )


def row_of(path: str, data: bytes, part: str, kind: str, **known: str) -> dict[str, Any]:
    """A row of the table; what is not known is empty."""
    row = dict.fromkeys(("text", "language", "source", "speaker"), "") | known
    audio = {"bytes": data, "path": path}
    return {"audio": audio, "part": part, "kind": kind, "phonemes": "", **row}


def add_phonemes(rows: Sequence[dict[str, Any]]) -> None:
    """Fill in the phonemes of the texts, where espeak-ng knows the language."""
    for language in sorted({row["language"] for row in rows} - {""}):
        mine = [row for row in rows if row["language"] == language]
        voice = VOICES.get(language, language.split("-")[0])
        found = phonemes_of_many([row["text"] for row in mine], voice)
        for row, phonemes in zip(mine, found, strict=True):
            row["phonemes"] = phonemes


def decode(data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Mono float32 at 16 kHz."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate, RATE), np.float32)


def opus(samples: np.ndarray[Any, Any], level: float, name: str) -> bytes:
    """Ogg Opus with a serial number made from `name`.

    libsndfile draws the stream's serial number by chance.
    """
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="OGG", subtype="OPUS", compression_level=level)
    serial = sha1(name.encode()).digest()[:4]
    return b"".join(with_serial(page, serial) for page in pages(file.getvalue()))


def pages(data: bytes) -> Iterator[bytes]:
    """The pages of an Ogg stream (RFC 3533, section 6)."""
    while data:
        segments = data[26]
        size = 27 + segments + sum(data[27 : 27 + segments])
        yield data[:size]
        data = data[size:]


def with_serial(page: bytes, serial: bytes) -> bytes:
    """A page with another serial number, and its checksum."""
    blank = page[:14] + serial + page[18:22] + bytes(4) + page[26:]
    return blank[:22] + checksum(blank).to_bytes(4, "little") + blank[26:]


def checksum(page: bytes) -> int:
    """Ogg's CRC-32: polynomial 0x04c11db7, neither reflected nor inverted."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ CRC_TABLE[value >> 24 ^ byte]
    return value


def crc_table() -> Sequence[int]:
    """The checksum of each byte."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


CRC_TABLE = crc_table()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("train/world/world.parquet"))
    options = parser.parse_args()
    if shutil.which(PROGRAM) is None:
        parser.error(f"{PROGRAM} is not installed; the pack holds the phonemes of each text")
    candidates = [*sentences(options.root), *words(options.root)]
    rows = list(noises(options.root))
    for (part, kind), megabytes in MEGABYTES.items():
        rows += chosen(candidates, part, kind, megabytes * 1e6)
    add_phonemes(rows)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), options.output, compression="zstd")
    for part in NOISE_SECONDS:
        for kind in (TALK, SINGLE, NOISE):
            mine = [row for row in rows if row["part"] == part and row["kind"] == kind]
            seconds = sum(
                soundfile.info(io.BytesIO(row["audio"]["bytes"])).duration for row in mine
            )
            people = len({row["speaker"] for row in mine} - {""})
            languages = len({row["language"] for row in mine} - {""})
            print(
                f"{part}, {kind}: {len(mine)} recordings, {seconds / 3600:.2f} h, {people} known "
                f"speakers, {languages} languages"
            )
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
