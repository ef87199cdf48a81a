"""Fetches the recordings that the recipes read, by plain download.

    python tools/fetch_data.py DATA              everything
    python tools/fetch_data.py DATA arabic lj    some of it

docs/data.md tells what each is, under which licence, and how to get the rest. An archive is kept
under DATA/archives; an interrupted download goes on where it stopped. A table (such as
DATA/talk/train.parquet) is written whole, from all of its archives that are there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NOISES = (
    "doing_the_dishes",
    "dude_miaowing",
    "exercise_bike",
    "pink_noise",
    "running_tap",
    "white_noise",
)
INTENTS = frozenset(
    (
        *("up", "down", "left", "right", "go", "zero", "one", "five", "eight"),
        *("won", "ate", "write", "wright", "rite", "someone", "upright"),
    )
)
"""The nine words of recipes/commands.toml, and what sounds the same."""
PER_WORD = 1500
"""Clips of each word of Speech Commands."""
PER_SPEAKER = 20
"""Sentences of each reader of LibriSpeech."""
PIECE = 1 << 20
SECONDS = 60.0
"""How long a server may be silent."""
Row = dict[str, Any]
Files = Iterator[tuple[str, bytes]]
"""Names in an archive, below its top folder, with what is in them."""


class FetchError(Exception):
    """A sentence for the user."""


@dataclass(frozen=True, slots=True)
class Source:
    """An archive, and what becomes of it."""

    url: str
    tables: tuple[str, ...]
    """The tables that its rows go to."""
    rows: Callable[[Files], Iterator[tuple[str, Row]]]
    """Tables and rows of an archive."""
    sha256: str | None = None
    """None: its publisher names none, or the archive is made anew for each download."""
    top: bool = False
    """Whether all in the archive lies in one folder."""


def speech_commands(files: Files) -> Iterator[tuple[str, Row]]:
    """Words, at most PER_WORD of each, and noises."""
    count: Counter[str] = Counter()
    for name, content in files:
        word, _, file = name.rpartition("/")
        if not file.endswith(".wav"):
            continue
        if word == "_background_noise_":
            if file.removesuffix(".wav") in NOISES:
                yield "noise", {"audio": audio(file, content)}
        elif word and count[word] < PER_WORD:
            count[word] += 1
            speaker = file.partition("_nohash_")[0]
            yield (
                "speech_commands/train",
                {"audio": audio(name, content), "label": word, "speaker": speaker},
            )


def librispeech(files: Files) -> Iterator[tuple[str, Row]]:
    texts: dict[str, str] = {}
    sounds: dict[str, bytes] = {}
    for name, content in files:
        path = PurePosixPath(name)
        if path.name.endswith(".trans.txt"):
            for line in content.decode().splitlines():
                key, _, text = line.partition(" ")
                texts[key] = text.lower()
        elif path.suffix == ".flac":
            sounds[path.stem] = content
    count: Counter[str] = Counter()
    for key, content in sorted(sounds.items()):
        speaker = "ls" + key.partition("-")[0]
        text = texts.get(key, "")
        if count[speaker] < PER_SPEAKER and plain(text):
            count[speaker] += 1
            yield "talk/train", talk(f"{key}.flac", content, text, "librispeech", speaker)


def lj_speech(files: Files) -> Iterator[tuple[str, Row]]:
    texts: dict[str, str] = {}
    sounds: dict[str, bytes] = {}
    for name, content in files:
        path = PurePosixPath(name)
        if path.name == "metadata.csv":
            for line in content.decode().splitlines():
                key, _, rest = line.partition("|")
                texts[key] = rest.rpartition("|")[2].lower()
        elif path.suffix == ".wav" and len(sounds) < 4 * PER_SPEAKER:
            sounds[path.stem] = content
    for key, content in sorted(sounds.items()):
        if plain(texts.get(key, "")):
            yield "talk/train", talk(f"{key}.wav", content, texts.get(key, ""), "ljspeech", "lj")


def speechocean(files: Files) -> Iterator[tuple[str, Row]]:
    """Its training part to train on, its test part to calibrate with."""
    texts: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    sounds: dict[str, tuple[str, bytes]] = {}
    for name, content in files:
        path = PurePosixPath(name)
        if path.name == "text" and path.parent.name in texts:
            for line in content.decode().splitlines():
                key, _, text = line.partition("\t" if "\t" in line else " ")
                texts[path.parent.name][key] = text.strip().lower()
        elif path.suffix.lower() == ".wav":
            sounds[path.stem] = (path.parent.name.removeprefix("SPEAKER"), content)
    for part, table in (("train", "talk/train"), ("test", "talk/calibration")):
        for key, text in sorted(texts[part].items()):
            if key in sounds and plain(text):
                speaker, content = sounds[key]
                name = f"so{speaker}"
                yield table, talk(f"{key}.wav", content, text, f"speechocean_{part}", name)


def arabic(files: Files) -> Iterator[tuple[str, Row]]:
    for name, content in files:
        path = PurePosixPath(name)
        if path.suffix == ".wav":
            yield "other_speech/train", other(name, content, "arabic", path.name.split("_")[0])


def custom_keywords(files: Files) -> Iterator[tuple[str, Row]]:
    for name, content in files:
        if name.endswith(".wav"):
            yield "other_speech/train", other(name, content, "custom_keywords", "")


def precise(files: Files) -> Iterator[tuple[str, Row]]:
    for name, content in files:
        # One word a folder; some of the noises beside them are songs.
        if name.endswith(".wav") and "/" in name and "not-wake-words" not in name:
            yield "other_speech/train", other(name, content, "precise", "")


def picovoice(files: Files) -> Iterator[tuple[str, Row]]:
    """Orders with the drink as label, and a kitchen."""
    drinks: dict[str, str] = {}
    sounds: dict[str, bytes] = {}
    for name, content in files:
        path = PurePosixPath(name)
        if name == "data/label/label.json":
            for file, meaning in json.loads(content).items():
                drinks[file] = meaning["slots"].get("coffeeDrink", "").replace(" ", "_")
        elif name == "data/noise/kitchen.wav":
            yield "noise", {"audio": audio("kitchen.wav", content)}
        elif path.parent == PurePosixPath("data/speech/clean"):
            sounds[path.name] = content
    for file, content in sorted(sounds.items()):
        if drinks.get(file):
            row = {"audio": audio(file, content), "label": drinks[file], "speaker": ""}
            yield "orders/train", row


GITHUB = "https://github.com/{}/archive/refs/heads/master.zip"
SOURCES: Mapping[str, Source] = {
    "speech_commands": Source(
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        ("speech_commands/train", "noise"),
        speech_commands,
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
    "librispeech": Source(
        "https://www.openslr.org/resources/31/train-clean-5.tar.gz", ("talk/train",), librispeech
    ),
    "speechocean": Source(
        "https://www.openslr.org/resources/101/speechocean762.tar.gz",
        ("talk/train", "talk/calibration"),
        speechocean,
        top=True,
    ),
    "lj": Source(
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2", ("talk/train",), lj_speech
    ),
    "arabic": Source(
        GITHUB.format("abdulkaderghandoura/arabic-speech-commands-dataset"),
        ("other_speech/train",),
        arabic,
        top=True,
    ),
    "custom_keywords": Source(
        GITHUB.format("ShawnHymel/custom-speech-commands-dataset"),
        ("other_speech/train",),
        custom_keywords,
        top=True,
    ),
    "precise": Source(
        GITHUB.format("MycroftAI/Precise-Community-Data"),
        ("other_speech/train",),
        precise,
        top=True,
    ),
    "picovoice": Source(
        GITHUB.format("Picovoice/speech-to-intent-benchmark"),
        ("orders/train", "noise"),
        picovoice,
        top=True,
    ),
}


def audio(path: str, content: bytes) -> Row:
    return {"bytes": content, "path": path}


def talk(path: str, content: bytes, text: str, source: str, speaker: str) -> Row:
    return {
        "audio": audio(path, content),
        "text": text,
        "language": "en",
        "source": source,
        "speaker": speaker,
    }


def other(path: str, content: bytes, source: str, speaker: str) -> Row:
    return {"audio": audio(path, content), "source": source, "speaker": speaker}


def plain(text: str) -> bool:
    """Whether a sentence is known and holds none of the intents."""
    words = "".join(c if c.isalpha() or c == "'" else " " for c in text.lower()).split()
    return bool(words) and not INTENTS.intersection(words)


def archive_of(data: Path, name: str) -> Path:
    """Where the archive of a source is kept."""
    file = PurePosixPath(urllib.parse.urlsplit(SOURCES[name].url).path).name
    return data / "archives" / f"{name}-{file}"


def download(url: str, file: Path, sha256: str | None) -> None:
    """Fetch `url` to `file`, which appears when it is whole.

    Raises FetchError if it can't be had, or is not what it should be.
    """
    if file.is_file():
        return
    part = file.with_name(file.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            goes_on = answer.status == 206
            with part.open("ab" if goes_on else "wb") as out:
                while piece := answer.read(PIECE):
                    out.write(piece)
                    print(f"\r{file.name}: {out.tell() / 1e6:.0f} MB", end="", file=sys.stderr)
            print(file=sys.stderr)
            asked = answer.headers.get("Content-Length")
            got = part.stat().st_size - (start if goes_on else 0)
            if asked is not None and got != int(asked):
                raise FetchError(f"{url} broke off; the same command goes on with it.")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to fetch
            raise FetchError(f"{url} cannot be fetched ({error}).") from error
    except OSError as error:
        raise FetchError(f"{url} cannot be fetched ({error}); try again.") from error
    if sha256 is not None and digest(part) != sha256:
        part.unlink()
        raise FetchError(f"{url} is not the archive that was expected (SHA-256); it was removed.")
    part.replace(file)


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def files_of(archive: Path, top: bool) -> Files:
    """The regular files in an archive, without its top folder if it has one."""

    def below(name: str) -> str:
        name = name.removeprefix("./")
        return name.partition("/")[2] if top else name

    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                for entry in packed.infolist():
                    if not entry.is_dir():
                        yield below(entry.filename), packed.read(entry)
            return
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)) is not None:
                    yield below(member.name), content.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise FetchError(f"{archive} is damaged ({error}); remove it and start again.") from error


def write_tables(data: Path, tables: set[str]) -> list[str]:
    """Write `tables` from the archives that are there; says what was written."""
    found: dict[str, list[Row]] = {table: [] for table in tables}
    for name, source in SOURCES.items():
        if tables.isdisjoint(source.tables) or not archive_of(data, name).is_file():
            continue
        for table, row in source.rows(files_of(archive_of(data, name), source.top)):
            if table in found:
                found[table].append(row)
    said = []
    for table, rows in sorted(found.items()):
        if table == "noise":
            for row in rows:
                file = data / "noise" / row["audio"]["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(row["audio"]["bytes"])
            said.append(f"{data / 'noise'}: {len(rows)} noises")
        elif rows:
            file = data / f"{table}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            half = file.with_suffix(".half")
            pq.write_table(pa.Table.from_pylist(rows), half, row_group_size=500)
            half.replace(file)
            said.append(f"{file}: {len(rows)} recordings")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder that the recipes call root")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(SOURCES)}; none: all")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in SOURCES:
            parser.error(f"there is no {name!r}; there are {', '.join(SOURCES)}")
    names = asked.names or list(SOURCES)
    try:
        for name in names:
            download(SOURCES[name].url, archive_of(asked.data, name), SOURCES[name].sha256)
        tables = {table for name in names for table in SOURCES[name].tables}
        for sentence in write_tables(asked.data, tables):
            print(sentence)
    except FetchError as error:
        print(f"fetch_data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
