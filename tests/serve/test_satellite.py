"""wyoming-satellite, as it is, with intentd as its wake word service."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import soundfile
from support.served import PATIENCE, Served
from wyoming.audio import AudioChunk
from wyoming.client import AsyncClient
from wyoming.pipeline import RunPipeline
from wyoming.satellite import RunSatellite

PYTHON = Path(os.environ.get("INTENTD_SATELLITE", Path(sys.prefix) / "satellite/bin/python"))
"""Of the environment in which wyoming-satellite is installed."""
DEMO = Path(str(files("daemon"))) / "bundled" / "demo.flac"
MICROPHONE = """
import sys, time
sound, begun = open(sys.argv[1], "rb").read(), time.monotonic()
for at in range(0, len(sound), 2048):
    sys.stdout.buffer.write(sound[at : at + 2048])
    sys.stdout.buffer.flush()
    time.sleep(max(0.0, begun + at / 32000 - time.monotonic()))
time.sleep(60)
"""

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs wyoming-satellite (make test)"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def home_assistant(address: str) -> RunPipeline:
    """What Home Assistant gets from a satellite once it wakes.

    That is the request to run a pipeline, and sound.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            async with AsyncClient.from_uri(address) as client:
                await client.write_event(RunSatellite().event())
                pipeline, chunks = None, 0
                while pipeline is None or chunks < 5:
                    async with asyncio.timeout(PATIENCE):
                        event = await client.read_event()
                    assert event is not None
                    if RunPipeline.is_type(event.type):
                        pipeline = RunPipeline.from_event(event)
                    elif AudioChunk.is_type(event.type):
                        chunks += 1
                return pipeline
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)


def test_a_satellite_wakes_on_a_word_of_the_model(tmp_path: Path) -> None:
    samples, rate = soundfile.read(DEMO, dtype="int16")
    assert rate == 16000
    (tmp_path / "demo.raw").write_bytes(samples.tobytes())
    (tmp_path / "microphone.py").write_text(MICROPHONE)
    address = f"tcp://127.0.0.1:{free_port()}"
    with Served(tmp_path, "tcp://127.0.0.1:0") as served:
        satellite = subprocess.Popen(
            [
                *(str(PYTHON), "-m", "wyoming_satellite"),
                *("--name", "kitchen", "--uri", address, "--no-zeroconf"),
                *("--mic-command", f"{sys.executable} microphone.py demo.raw"),
                *("--wake-uri", served.address, "--wake-word-name", "go"),
            ],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        try:
            pipeline = asyncio.run(home_assistant(address))
        finally:
            satellite.terminate()
            satellite.communicate(timeout=PATIENCE)
        assert pipeline.start_stage == "asr"
        # It woke on the word that it asked for, not on the one before.
        assert [event["intent"] for event in served.lines("event")] == ["left", "go"]
        assert served.end() == 0
