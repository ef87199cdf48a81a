"""Clients of the Wyoming protocol, good and bad, by wyoming's own classes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support.making import TINY_LABELS, speechlike
from support.served import (
    Served,
    detections,
    events_of,
    is_closed,
    nothing_detected,
    pcm,
    send,
    send_now,
)
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.wake import Detect

from daemon.cli import run

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]
RATE = 16000
Sound = NDArray[np.float32]
Line = dict[str, Any]


@pytest.fixture(scope="module")
def server(word_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    with Served(folder, "tcp://127.0.0.1:0", "--model", str(word_model)) as served:
        yield served
        assert served.end() == 0
        assert not any("Traceback" in line for line in served.said), served.said


def replayed(folder: Path, model: Path, sound: Sound, rate: int, width: int = 2) -> list[Line]:
    """What a replay writes of the same samples."""
    path = folder / "same.wav"
    samples = np.frombuffer(pcm(sound, width), f"<i{width}").reshape(sound.shape)
    soundfile.write(path, samples, rate, subtype=f"PCM_{8 * width}")
    out = folder / "replay.jsonl"
    command = ["replay", str(path), "--speed", "max", "--model", str(model)]
    command += ["--set", "model.backend=torch", "--headless", "--jsonl", str(out)]
    assert run(command) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def comparable(lines: list[Line]) -> list[Line]:
    """Lines without clock and stream's name; probabilities to 0.001."""
    found = []
    for line in lines:
        kept = {k: v for k, v in line.items() if k not in ("stream", "latency_ms", "at")}
        for key in ("scores", "rolling"):
            if kept.get(key):
                kept[key] = {name: pytest.approx(v, abs=2e-3) for name, v in kept[key].items()}
        for key in ("score",):
            if kept.get(key) is not None:
                kept[key] = pytest.approx(kept[key], abs=2e-3)
        kept.pop("top", None)
        found.append(kept)
    return found


def one_stream(server: Served, before: int) -> list[Line]:
    """Lines of the stream that ended last, after `before` others."""
    stream = server.wait_for_lines("summary", before + 1)[-1]["stream"]
    return server.lines("", stream)


# ---- the protocol -------------------------------------------------------------------------------


def test_describe_is_answered_with_the_models_words(server: Served) -> None:
    async def ask() -> Info:
        async with AsyncClient.from_uri(server.address) as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None and Info.is_type(event.type)
            return Info.from_event(event)

    (program,) = asyncio.run(ask()).wake
    assert program.name == "intentd" and program.installed
    words = [label for label in TINY_LABELS if label != "background"]
    assert [model.name for model in program.models] == words
    assert [model.phrase for model in program.models] == words


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(16000, 2, 1), (44100, 2, 2), (22050, 4, 1), (8000, 2, 1)]
)
def test_a_client_is_heard_as_a_replay_of_the_same_samples_is(
    server: Served, word_model: Path, tmp_path: Path, rate: int, width: int, channels: int
) -> None:
    sound = speechlike(6.0, rate, seed=3)
    if channels == 2:
        sound = np.stack([sound, 0.5 * sound], axis=1)
    before = len(server.lines("summary"))
    answers = send_now(server.address, events_of(sound, rate, width))
    lines = one_stream(server, before)
    expected = replayed(tmp_path, word_model, sound, rate, width)
    assert comparable(lines) == comparable(expected)
    events = [line for line in expected if line["type"] == "event"]
    assert events
    heard = [(event["intent"], round(1000 * event["at_stream"])) for event in events]
    assert detections(answers) == heard and nothing_detected(answers) == 0


@pytest.mark.parametrize("width", [1, 3])
def test_other_widths_are_taken(server: Served, width: int) -> None:
    before = len(server.lines("summary"))
    sound = speechlike(6.0, seed=3)
    send_now(server.address, events_of(sound, RATE, width))
    summary = one_stream(server, before)[-1]
    assert summary["samples_captured"] == len(sound) and summary["samples_classified"]


def test_silence_is_not_detected(server: Served) -> None:
    answers = send_now(server.address, events_of(np.zeros(2 * RATE, np.float32), RATE))
    assert detections(answers) == [] and nothing_detected(answers) == 1


def test_detect_chooses_among_the_intents(server: Served) -> None:
    sound = events_of(speechlike(6.0, seed=3), RATE)
    every = send_now(server.address, sound, first=[Detect().event()])
    names = {name for name, _ in detections(every)}
    assert len(names) > 1
    for name in names:
        only = send_now(server.address, sound, first=[Detect(names=[str(name)]).event()])
        assert detections(only) == [each for each in detections(every) if each[0] == name]
    answers = send_now(server.address, sound, first=[Detect(names=["hey_jarvis"]).event()])
    (error,) = [Error.from_event(each) for each in answers if Error.is_type(each.type)]
    assert "no intent hey_jarvis; it has up, down, go" in error.text
    assert detections(answers) == [] and nothing_detected(answers) == 1


def test_satellites_leave_the_start_out_and_ask_again(server: Served) -> None:
    """Timestamps go on from the client's own."""
    before = len(server.lines("summary"))
    sound = events_of(speechlike(6.0, seed=3), RATE, start=False)[:-1]
    later = [
        AudioChunk(RATE, 2, 1, chunk.audio, timestamp=10_000 + (chunk.timestamp or 0)).event()
        for chunk in map(AudioChunk.from_event, sound)
    ]
    answers = send_now(server.address, [*sound, Detect().event(), *later, Detect().event()])
    found = detections(answers)
    half = len(found) // 2
    assert half and found[half:] == [(name, 10_000 + (at or 0)) for name, at in found[:half]]
    first, second = server.wait_for_lines("summary", before + 2)[-2:]
    assert first["stream"] == second["stream"]
    assert first["samples_captured"] == second["samples_captured"]


def test_another_format_begins_another_stream(server: Served) -> None:
    before = len(server.lines("summary"))
    events = [AudioChunk(rate, 2, 1, bytes(rate), None).event() for rate in (16000, 8000, 8000)]
    send_now(server.address, [*events, Detect().event()])
    captured = [s["samples_captured"] for s in server.wait_for_lines("summary", before + 2)[-2:]]
    assert captured == [8000, 8000]


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(0, 2, 1), (16000, 9, 1), (16000, 2, -1), (10**9, 2, 1)]
)
def test_a_format_that_cant_be_is_an_error(
    server: Served, rate: int, width: int, channels: int
) -> None:
    async def ask() -> Event | None:
        async with AsyncClient.from_uri(server.address) as client:
            await client.write_event(AudioStart(rate, width, channels).event())
            answer: Event | None = await client.read_event()
            return answer

    event = asyncio.run(ask())
    assert event is not None and Error.is_type(event.type)
    assert "it must be a whole number from" in Error.from_event(event).text


# ---- many at once, and what one of them may do --------------------------------------------------


def connect(server: Served) -> socket.socket:
    parts = urlsplit(server.address)
    found = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30)
    found.settimeout(30)
    return found


def test_many_clients_are_heard_as_if_each_were_alone(server: Served) -> None:
    sounds = [speechlike(4.0, seed=seed) for seed in range(8)]
    alone = [detections(send_now(server.address, events_of(each, RATE))) for each in sounds]
    assert sum(map(bool, alone)) > 3

    async def all_at_once() -> list[list[Event]]:
        many = [send(server.address, events_of(each, RATE)) for each in sounds]
        return list(await asyncio.gather(*many))

    together = [detections(each) for each in asyncio.run(all_at_once())]
    assert together == alone


def test_bad_clients_harm_no_other(server: Served, word_model: Path, tmp_path: Path) -> None:
    """Another client's lines are those of a replay all the same.

    One is killed, one sends noise for a header, one claims too much, one reads nothing, one
    stops in the middle.
    """
    sound = speechlike(6.0, seed=3)
    script = (
        "import sys, time; sys.path.insert(0, 'tests')\n"
        "from support.served import *; from support.making import speechlike\n"
        "print('up', flush=True)\n"
        "send_now(sys.argv[1], events_of(speechlike(60.0, seed=5), 16000), pace=0.05)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", script, server.address],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
    )
    assert killed.stdout is not None and killed.stdout.readline() == b"up\n"
    rng = np.random.default_rng(0)
    resident = server.footprint.resident
    with contextlib.ExitStack() as stack:
        noisy, greedy, lazy, stuck = (stack.enter_context(connect(server)) for _ in range(4))
        with contextlib.suppress(ConnectionError):
            noisy.sendall(rng.integers(11, 256, 10_000_000, np.uint8).tobytes())
        with contextlib.suppress(ConnectionError):
            greedy.sendall(b'{"type":"audio-chunk","payload_length":1000000000000}\n' + bytes(9999))
        stuck.sendall(b'{"type":"audio-chunk","data_length":100}\n{"ra')
        with contextlib.suppress(ConnectionError, TimeoutError):
            lazy.settimeout(5)
            lazy.sendall(b'{"type":"describe"}\n' * 200_000)
        before = server.lines("summary")
        deadline = time.monotonic() + 30
        while not any(line["stream"] not in {s["stream"] for s in before}
                      for line in server.lines("prediction")):  # fmt: skip
            assert time.monotonic() < deadline
            time.sleep(0.1)
        killed.kill()
        killed.wait()
        answers = send_now(server.address, events_of(sound, RATE), first=[Detect().event()])
        assert is_closed(noisy) and is_closed(greedy) and is_closed(lazy) and is_closed(stuck)
    expected = replayed(tmp_path, word_model, sound, RATE)
    wanted = [event["intent"] for event in expected if event["type"] == "event"]
    assert [name for name, _ in detections(answers)] == wanted
    streams = {line["stream"] for line in server.lines("summary")[len(before) :]}
    of_all = [comparable(server.lines("", stream)) for stream in streams]
    assert comparable(expected) in of_all
    assert server.footprint.resident - resident < 50_000_000
    deadline = time.monotonic() + 10
    while server.status()["clients"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_who_asks_without_end_is_answered_at_a_pace(server: Served) -> None:
    async def ask(count: int) -> float:
        async with AsyncClient.from_uri(server.address) as client:
            begun = time.monotonic()
            for _ in range(count):
                await client.write_event(Describe().event())
            for _ in range(count):
                assert await client.read_event() is not None
            return time.monotonic() - begun

    assert asyncio.run(ask(700)) > 1.2  # 400 at once, then 200 a second


def test_a_stream_that_stalls_ends_and_another_begins(server: Served) -> None:
    before = len(server.lines("summary"))
    chunk = AudioChunk(RATE, 2, 1, bytes(2 * RATE)).event()

    async def stall() -> None:
        async with AsyncClient.from_uri(server.address) as client:
            await client.write_event(chunk)
            while len(server.lines("summary")) == before:
                await asyncio.sleep(0.1)
            await client.write_event(chunk)
            await client.write_event(Describe().event())
            assert await client.read_event() is not None

    begun = time.monotonic()
    asyncio.run(stall())
    assert 2.5 < time.monotonic() - begun < 20
    first, second = server.wait_for_lines("summary", before + 2)[-2:]
    assert first["stream"] == second["stream"]


def test_a_port_that_is_taken_ends_it_with_2(
    server: Served, word_model: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "serve", server.address, "--model", str(word_model)],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "can't listen at" in done.stderr
