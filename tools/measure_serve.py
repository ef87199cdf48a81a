"""Measures many clients at real time beside a microphone, on this machine.

    python tools/measure_serve.py [--clients 20] [--seconds 60] [--json FILE]

`intentd live` listens to a virtual microphone (PulseAudio) that plays the demo recording, and to
clients of the Wyoming protocol, each of which sends the demo recording over and over, from another
place on, in chunks of 64 ms. Printed are the samples lost and the latencies of all windows that the
model classified, clients' and microphone's apart. Clients and sound server run on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.served import Served  # noqa: E402
from support.virtual_mic import VirtualMic, missing_packages  # noqa: E402

from daemon.commands.replay import DEMO  # noqa: E402

CHUNK = 1024
"""Samples, as satellites send."""


async def send(address: str, start: int, seconds: float) -> None:
    """One client at real time."""
    samples, rate = soundfile.read(DEMO, dtype="int16")
    samples = np.roll(samples, -start)
    async with AsyncClient.from_uri(address) as client:
        await client.write_event(AudioStart(rate, 2, 1).event())
        begun = time.monotonic()
        for at in range(0, round(seconds * rate), CHUNK):
            where = np.arange(at, at + CHUNK) % len(samples)
            await client.write_event(AudioChunk(rate, 2, 1, samples[where].tobytes()).event())
            await asyncio.sleep(max(0.0, begun + (at + CHUNK) / rate - time.monotonic()))
        await client.write_event(AudioStop().event())
        await client.read_event()


async def send_all(address: str, clients: int, seconds: float) -> None:
    """All clients, whose starts are spread over a second."""

    async def one(number: int) -> None:
        await asyncio.sleep(number / clients)
        await send(address, number * 16_000, seconds)

    await asyncio.gather(*(one(number) for number in range(clients)))


def figures(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Of some streams' lines."""
    latencies = [
        line["latency_ms"]
        for line in lines
        if line["type"] == "prediction" and line["latency_ms"] is not None
    ]
    summaries = [line for line in lines if line["type"] == "summary"]
    p50, p99, longest = np.percentile(latencies, (50, 99, 100))
    return {
        "streams": len(summaries),
        "seconds": round(sum(summary["seconds"] for summary in summaries), 1),
        "samples_lost": sum(summary["samples_lost"] for summary in summaries),
        "events": sum(summary["events"] for summary in summaries),
        "windows_classified": len(latencies),
        "latency_ms": {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(longest, 1)},
    }


def measure(clients: int, seconds: float) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="intentd-serve-"))
    with (
        VirtualMic() as mic,
        Served(
            folder,
            *("--set", "serve.listen=tcp://127.0.0.1:0"),
            command="live",
            env=mic.env,
            backend="auto",
        ) as served,
    ):
        mic.play(DEMO)
        asyncio.run(send_all(served.address, clients, seconds))
        work = served.status()["load"]
        status = served.end()
        lines = served.lines()
    mine = [line for line in lines if ":" in line["stream"]]
    return {
        "clients": figures(mine),
        "microphone": figures([line for line in lines if line not in mine]),
        "work_per_second_of_sound": work,
        "exit_status": status,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if missing := missing_packages():
        print(f"needs the packages {' '.join(missing)}", file=sys.stderr)
        return 2
    found = measure(asked.clients, asked.seconds)
    text = json.dumps(found, indent=2)
    print(text)
    if asked.json is not None:
        asked.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
