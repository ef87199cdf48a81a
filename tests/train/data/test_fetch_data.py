"""tools/fetch_data.py against archives on a server of the test."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from train.data.clips import load_clips
from train.recipe_files import load_recipe

ROOT = Path(__file__).resolve().parents[3]


def sound(number: int, kind: str = "WAV") -> bytes:
    held = io.BytesIO()
    noise = np.random.default_rng(number).standard_normal(16_000 * 2) * 0.1
    soundfile.write(held, noise, 16_000, format=kind, subtype="PCM_16")
    return held.getvalue()


WORDS = ("up", "down", "left", "right", "go", "zero", "one", "five", "eight", "bed")
FILES: dict[str, dict[str, bytes]] = {
    "speech_commands": {
        "./README.md": b"words",
        "./_background_noise_/README.md": b"noise",
        "./_background_noise_/pink_noise.wav": sound(1),
        **{
            f"./{word}/{speaker:08x}_nohash_0.wav": sound(100 * n + speaker)
            for n, word in enumerate(WORDS)
            for speaker in range(12)
        },
    },
    "librispeech": {
        "LibriSpeech/train-clean-5/19/198/19-198.trans.txt": b"19-198-0000 NORTHANGER ABBEY\n"
        b"19-198-0001 ONE OF THEM\n",
        "LibriSpeech/train-clean-5/19/198/19-198-0000.flac": sound(2, "FLAC"),
        "LibriSpeech/train-clean-5/19/198/19-198-0001.flac": sound(3, "FLAC"),
    },
    "speechocean": {
        "speechocean762/train/text": b"000010011\tWE CALL IT BEAR\n000010012\tGO ON\n",
        "speechocean762/test/text": b"000030012\tMARK IS GONE\n",
        "speechocean762/WAVE/SPEAKER0001/000010011.WAV": sound(4),
        "speechocean762/WAVE/SPEAKER0001/000010012.WAV": sound(5),
        "speechocean762/WAVE/SPEAKER0003/000030012.WAV": sound(6),
    },
    "lj": {
        "LJSpeech-1.1/wavs/LJ001-0001.wav": sound(7),
        "LJSpeech-1.1/metadata.csv": b"LJ001-0001|Printing, in 1|Printing, in the only sense\n",
    },
    "arabic": {"arabic-1/dataset/yes/00000011_NO_08.wav": sound(8)},
    "custom_keywords": {"custom-1/custom_keywords/archie/archie_2020.wav": sound(9)},
    "precise": {
        "Precise-1/amelia/en/amelia-1.wav": sound(10),
        "Precise-1/not-wake-words/song.wav": sound(11),
    },
    "picovoice": {
        "speech-1/data/label/label.json": json.dumps(
            {"a.wav": {"intent": "orderDrink", "slots": {"coffeeDrink": "iced mocha"}}}
        ).encode(),
        "speech-1/data/noise/kitchen.wav": sound(12),
        "speech-1/data/speech/clean/a.wav": sound(13),
    },
}  # fmt: skip


def pack(file: Path, files: dict[str, bytes]) -> None:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return
    mode: Literal["w:gz", "w:bz2"] = "w:gz" if file.suffix == ".gz" else "w:bz2"
    with tarfile.open(file, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, parts of files too; what was asked for is kept."""

    asked: list[str | None] = []  # noqa: RUF012
    cut: int = 0
    """After so many bytes the connection is closed, once."""

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        Server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content)
        if Server.cut:
            end, Server.cut = Server.cut, 0
        self.wfile.write(content[start:end])


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tool with its sources' addresses on the loopback."""
    spec = importlib.util.spec_from_file_location("fetch_data", ROOT / "tools" / "fetch_data.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fetch_data", tool)
    spec.loader.exec_module(tool)
    served = tmp_path / "served"
    served.mkdir()
    Server.asked, Server.cut = [], 0
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *rest: Server(*rest, directory=str(served))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sources = {}
    for name, source in tool.SOURCES.items():
        file = served / f"{name}-{source.url.rpartition('/')[2]}"
        pack(file, FILES[name])
        address = f"http://127.0.0.1:{server.server_port}/{file.name}"
        known = source.sha256 and hashlib.sha256(file.read_bytes()).hexdigest()
        sources[name] = replace(source, url=address, sha256=known)
    monkeypatch.setattr(tool, "SOURCES", sources)
    yield tool
    server.shutdown()


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, data: Path, *names: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fetch_data", str(data), *names])
    code: int = tool.main()
    return code


def test_all_that_is_fetched_is_what_the_recipe_reads(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    assert run(fetch, monkeypatch, data) == 0
    talk = pq.read_table(data / "talk" / "train.parquet").to_pylist()
    assert [(row["source"], row["speaker"], row["text"]) for row in talk] == [
        ("librispeech", "ls19", "northanger abbey"),
        ("speechocean_train", "so0001", "we call it bear"),
        ("ljspeech", "lj", "printing, in the only sense"),
    ]
    held = pq.read_table(data / "talk" / "calibration.parquet").to_pylist()
    assert [row["text"] for row in held] == ["mark is gone"]
    orders = pq.read_table(data / "orders" / "train.parquet").to_pylist()
    assert [(row["label"], row["audio"]["bytes"]) for row in orders] == [("iced_mocha", sound(13))]
    others = pq.read_table(data / "other_speech" / "train.parquet")["source"].to_pylist()
    assert others == ["arabic", "custom_keywords", "precise"]
    assert sorted(file.name for file in (data / "noise").iterdir()) == [
        "kitchen.wav", "pink_noise.wav",
    ]  # fmt: skip
    for label in (*WORDS[:9], "_sentences"):
        (data / "synthetic" / label).mkdir(parents=True)
        (data / "synthetic" / label / "0.wav").write_bytes(sound(20))
    loaded = load_clips(load_recipe("commands", [f"root={data}"]))
    assert not loaded.faults
    assert {clip.label for clip in loaded.clips} == {*WORDS[:9], "unknown"}


def test_what_broke_off_goes_on(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    Server.cut = 1000
    assert run(fetch, monkeypatch, tmp_path, "arabic") == 1
    assert "goes on" in capsys.readouterr().err or Server.asked == [None]
    assert not (tmp_path / "other_speech").exists()
    assert run(fetch, monkeypatch, tmp_path, "arabic") == 0
    assert Server.asked == [None, "bytes=1000-"]
    rows = pq.read_table(tmp_path / "other_speech" / "train.parquet").to_pylist()
    assert [(row["speaker"], row["audio"]["bytes"]) for row in rows] == [("00000011", sound(8))]
    # A table is made of all that is there, and what is there is not fetched again.
    assert run(fetch, monkeypatch, tmp_path, "custom_keywords", "arabic") == 0
    assert len(Server.asked) == 3
    assert pq.read_table(tmp_path / "other_speech" / "train.parquet").num_rows == 2


def test_another_archive_than_expected_is_a_sentence(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fetch.SOURCES["speech_commands"] = replace(fetch.SOURCES["speech_commands"], sha256="0" * 64)
    assert run(fetch, monkeypatch, tmp_path, "speech_commands") == 1
    assert "not the archive that was expected" in capsys.readouterr().err
    assert not list((tmp_path / "archives").iterdir())
    fetch.SOURCES["lj"] = replace(fetch.SOURCES["lj"], url="http://127.0.0.1:9/none.tar.bz2")
    assert run(fetch, monkeypatch, tmp_path, "lj") == 1
    assert "cannot be fetched" in capsys.readouterr().err
