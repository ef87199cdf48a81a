"""Thousands of malformed conversations for each listener.

No defect, hang or growth, and who speaks properly is served as before. (The status socket's are in
tests/health/test_watch.py.)
"""

from __future__ import annotations

import base64
import contextlib
import io
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.hearing import Footprint
from support.making import speechlike
from support.served import Served, detections, events_of, send_now
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, write_event
from wyoming.info import Describe
from wyoming.ping import Ping
from wyoming.wake import Detect

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]
COUNT = 2000
GROWTH = 30 << 20
"""Bytes of memory that three quarters of them may cost."""
ODD = [
    "null", "true", "-1", "0", "1e999", "NaN", "99999999999999999999", "1.5", '""', '"x"', "[]",
    "{}", "[[[[[[[[[[]]]]]]]]]]", '"\\ud800"', "[null]", '{"a":{"a":{"a":1}}}', "9" * 5000,
]  # fmt: skip


# ---- Wyoming ------------------------------------------------------------------------------------


def events(rng: random.Random) -> list[Event]:
    """A good conversation."""
    form = (rng.choice([8000, 16000, 44100]), rng.choice([1, 2, 3, 4]), rng.choice([1, 2]))
    made = [
        Describe().event(),
        Ping(text="x").event(),
        Detect(names=rng.choice([None, [], ["up"], ["nobody"]])).event(),
        AudioStart(*form, timestamp=rng.choice([None, 0, 10**12])).event(),
        *(AudioChunk(*form, rng.randbytes(rng.randrange(2000))).event() for _ in range(3)),
        AudioStop().event(),
        Event("transcribe", {"name": "x"}),
    ]
    if rng.random() < 0.5:
        rng.shuffle(made)
    return made[: rng.randrange(1, len(made) + 1)]


def odd_header(rng: random.Random) -> bytes:
    """A line of JSON with a key that has another type or size than it should."""
    keys = ["type", "data", "data_length", "payload_length", "version"]
    values = {
        "type": f'"{rng.choice(["audio-chunk", "audio-start", "detect", "describe", "ping"])}"',
        "data": '{"rate":16000,"width":2,"channels":1,"names":["up"],"timestamp":0}',
        "data_length": "0",
        "payload_length": "4",
    }
    for key in rng.sample(keys, rng.randrange(1, 3)):
        values[key] = rng.choice(ODD)
    if rng.random() < 0.3:
        field = rng.choice(["rate", "width", "channels", "names", "timestamp", "text"])
        values["data"] = f'{{"rate":16000,"width":2,"channels":1,"{field}":{rng.choice(ODD)}}}'
    line = ",".join(f'"{key}":{value}' for key, value in values.items())
    return f"{{{line}}}\n".encode() + rng.randbytes(rng.randrange(40))


def wyoming_bytes(rng: random.Random) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(4000))
    if kind == 1:
        return b"".join(odd_header(rng) for _ in range(rng.randrange(1, 5)))
    if kind == 2:
        return b"[" * rng.randrange(100, 70_000) + b"\n" * rng.randrange(2)
    out = io.BytesIO()
    for event in events(rng):
        write_event(event, out)
    return mutated(rng, out.getvalue())


# ---- WebSocket ----------------------------------------------------------------------------------


def handshake(rng: random.Random, host: str) -> bytes:
    key = base64.b64encode(rng.randbytes(16)).decode()
    query = rng.choice(["", "?rate=16000", "?rate=44100&channels=2", "?rate=x", "?token=\xe4"])
    path = rng.choice(["/stream", "/stream", "/stream", "/", "/x", "//", "*", "/stream/../"])
    lines = [
        f"GET {path}{query} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if rng.random() < 0.1:
        lines.append(f"Origin: {rng.choice(['null', f'http://{host}', 'http://x', '[', ''])}")
    if rng.random() < 0.1:
        lines += [f"X-{n}: {'y' * rng.randrange(9000)}" for n in range(rng.randrange(200))]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def frame(rng: random.Random) -> bytes:
    """A frame that may break any rule (RFC 6455, section 5.2)."""
    payload = rng.randbytes(rng.randrange(300))
    opcode = rng.choice([0, 1, 2, 2, 2, 2, 8, 9, 10, rng.randrange(16)])
    head = (0x80 if rng.random() < 0.8 else 0) | opcode
    head |= rng.choice([0, 0, 0, 0x10, 0x20, 0x40])
    masked = rng.random() < 0.9
    length = rng.choice([len(payload)] * 6 + [0, 65536, 2**40, 2**63, 2**64 - 1])
    if length < 126:
        size = struct.pack("!BB", head, masked << 7 | length)
    elif length < 65536:
        size = struct.pack("!BBH", head, masked << 7 | 126, length)
    else:
        size = struct.pack("!BBQ", head, masked << 7 | 127, length)
    mask = rng.randbytes(4) if masked else b""
    return size + mask + payload


def web_bytes(rng: random.Random, host: str) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(4000))
    if kind == 1:
        return mutated(rng, handshake(rng, host))
    frames = b"".join(frame(rng) for _ in range(rng.randrange(12)))
    good = b"GET /stream?rate=16000 HTTP/1.1\r\nHost: " + host.encode() + b"\r\n"
    good += b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    good += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    return (good if kind > 2 else handshake(rng, host)) + frames


# ---- both ---------------------------------------------------------------------------------------


def mutated(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                del data[at : at + rng.randrange(50)]
            case 2:
                data[at:at] = data[at : at + rng.randrange(200)]
            case 3:
                data[at:at] = rng.choice(ODD).encode()
            case 4:
                del data[at:]
    return bytes(data)


def talk(address: str, seed: int, make: Callable[[random.Random], bytes]) -> None:
    """One conversation, in one piece or several, with one of the ends."""
    rng = random.Random(seed)
    parts = urlsplit(address)
    with contextlib.suppress(OSError):
        connection = socket.create_connection((str(parts.hostname), int(parts.port or 0)), 60)
        with connection:
            connection.settimeout(60)
            raw = make(rng)
            cut = rng.randrange(len(raw) + 1) if rng.random() < 0.3 else len(raw)
            connection.sendall(raw[:cut])
            if cut < len(raw):
                time.sleep(0.01)
                connection.sendall(raw[cut:])
            ending = rng.randrange(3)
            if ending == 0:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            elif ending == 1:  # a reset
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def settled(served: Served) -> Footprint:
    """What the process holds once nobody is connected.

    Twice the same, since a socket is closed after its client is counted out.
    """
    deadline = time.monotonic() + 60
    before = None
    while True:
        report = served.status()
        held = served.footprint
        kept = (held.threads, held.descriptors)
        if not report["clients"] and not report["streams"] and kept == before:
            return held
        assert time.monotonic() < deadline, report
        before = kept
        time.sleep(0.3)


@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_malformed_conversations_harm_nobody(word_model: Path, tmp_path: Path, scheme: str) -> None:
    log = tmp_path / "log"
    addresses = ["tcp://127.0.0.1:0", "http://127.0.0.1:0"]
    with Served(
        tmp_path, *addresses, "--model", str(word_model), "--log-file", str(log), count=2
    ) as served:
        wyoming, web = served.addresses
        good = events_of(speechlike(6.0, seed=3), 16000)
        before = detections(send_now(wyoming, good))
        assert before

        def converse(seeds: range) -> None:
            host = urlsplit(web).netloc
            with ThreadPoolExecutor(16) as pool:
                if scheme == "tcp":
                    list(pool.map(lambda seed: talk(wyoming, seed, wyoming_bytes), seeds))
                else:
                    make: Callable[[random.Random], bytes] = lambda rng: web_bytes(rng, host)  # noqa: E731
                    list(pool.map(lambda seed: talk(web, seed, make), seeds))

        converse(range(COUNT // 4))
        first = settled(served)
        converse(range(COUNT // 4, COUNT))
        last = settled(served)
        if last.resident - first.resident >= GROWTH:  # the allocator's, once; a leak goes on
            first = last
            converse(range(COUNT, COUNT + 3 * COUNT // 4))
            last = settled(served)
        assert detections(send_now(wyoming, good)) == before
        assert last.descriptors <= first.descriptors and last.threads <= first.threads
        assert last.resident - first.resident < GROWTH, (str(first), str(last))
        assert served.end() == 0
    said = log.read_text() + "\n".join(served.said)
    assert "Traceback" not in said, said[-5000:]
    for summary in served.lines("summary"):
        counted = summary["samples_classified"] + summary["samples_gated"]
        assert summary["samples_captured"] == counted
