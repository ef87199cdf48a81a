"""The WebSocket that takes sound, and who may use it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from support.broker import until
from support.making import TINY_LABELS, speechlike
from support.served import Served, pcm
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]
RATE = 16000
TOKEN = "0123456789abcdef0123456789abcdef"
Line = dict[str, Any]


@pytest.fixture(scope="module")
def server(word_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("web")
    with Served(folder, "http://127.0.0.1:0", "--model", str(word_model)) as served:
        yield served
        assert served.end() == 0
        assert not any("Traceback" in line for line in served.said), served.said


def stream_of(address: str, query: str = "rate=16000", scheme: str = "ws") -> str:
    return f"{scheme}://{urlsplit(address).netloc}/stream?{query}"


def heard(address: str, payload: bytes, query: str = "rate=16000", **options: Any) -> list[Line]:
    """What the server says of a recording that is sent as fast as it is taken."""
    lines = []
    with connect(stream_of(address, query), open_timeout=60, **options) as connection:
        for at in range(0, len(payload), 4001):  # in the middle of samples
            connection.send(payload[at : at + 4001])
        connection.send("")
        try:
            while True:
                lines.append(json.loads(connection.recv(60)))
        except ConnectionClosed:
            return lines


def get(address: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(address)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def status_of(address: str, query: str = "rate=16000", **options: Any) -> int:
    """Why a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as refusal, connect(stream_of(address, query), **options):
        pass
    return refusal.value.response.status_code


def test_what_comes_back_is_the_model_and_the_streams_lines(server: Served) -> None:
    model, *lines = heard(server.address, pcm(speechlike(6.0, seed=3), 2))
    assert model["type"] == "model" and tuple(model["labels"]) == TINY_LABELS
    assert model["intents"] == ["up", "down", "go"]
    assert model["thresholds"]["up"] == pytest.approx(0.55)
    assert [line["type"] for line in lines].count("event") > 0
    assert lines[-1]["type"] == "summary" and lines[-1]["samples_captured"] == 6 * RATE
    server.wait_for_lines("summary", 1, lines[-1]["stream"])
    assert lines == server.lines("", lines[-1]["stream"])


def test_any_rate_and_channels_are_taken(server: Served) -> None:
    sound = np.stack([speechlike(4.0, 44100, seed=3)] * 2, axis=1)
    lines = heard(server.address, pcm(sound, 2), "rate=44100&channels=2")
    assert lines[-1]["samples_captured"] == 4 * 44100


@pytest.mark.parametrize(
    "query", ["rate=0", "rate=x", "rate=1e5", "channels=0", "channels=99", "rate=999999999999"]
)
def test_a_format_that_cant_be_is_refused(server: Served, query: str) -> None:
    assert status_of(server.address, query) == 400


def test_the_page_and_its_parts_are_served_and_nothing_else(server: Served) -> None:
    for path, kind in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/recorder.js", "text/javascript"),
        ("/style.css", "text/css"),
    ]:
        status, headers, body = get(server.address, path)
        assert status == 200 and headers["content-type"].startswith(kind) and len(body) > 500
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"http://" not in body and b"https://" not in body  # nothing is fetched elsewhere
    for path in ("/x", "/../server.py", "/page/index.html", "/app.js/", "/%2e%2e/web.py"):
        assert get(server.address, path)[0] == 404, path


def test_pages_of_others_and_foreign_names_are_refused(server: Served) -> None:
    own = f"http://{urlsplit(server.address).netloc}"
    assert status_of(server.address, origin="http://evil.example") == 403
    assert status_of(server.address, origin="null") == 403
    assert heard(server.address, bytes(RATE), origin=own)[-1]["type"] == "summary"
    assert get(server.address, "/", Host="evil.example")[0] == 421
    assert get(server.address, "/", Host="localhost:1")[0] == 200


def test_a_message_that_is_too_large_ends_the_connection(server: Served) -> None:
    with (
        pytest.raises(ConnectionClosed),
        connect(stream_of(server.address), open_timeout=60) as connection,
    ):
        for _ in range(10):
            connection.send(bytes(1 << 20))
            connection.recv(60)
    assert heard(server.address, bytes(RATE))[-1]["type"] == "summary"


def test_who_reads_nothing_is_disconnected_and_harms_no_other(server: Served) -> None:
    """Its lines are bounded, however small its receive window is."""
    place = urlsplit(server.address)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((str(place.hostname), int(place.port or 0)))
    sound = pcm(speechlike(6.0, seed=3), 2)
    before = heard(server.address, sound)
    with (
        connect(stream_of(server.address), sock=raw, open_timeout=60, max_queue=1) as lazy,
        pytest.raises(ConnectionClosed),
    ):
        for _ in range(200):
            lazy.send(sound)
    after = heard(server.address, sound)
    kinds = [[line["type"] for line in lines] for lines in (before, after)]
    assert kinds[0] == kinds[1]


def test_connections_that_say_nothing_take_few_descriptors(server: Served) -> None:
    place = urlsplit(server.address)
    before = server.footprint.descriptors
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            silent = stack.enter_context(socket.socket())
            silent.connect((str(place.hostname), int(place.port or 0)))
        assert until(lambda: server.footprint.descriptors > before + 32)
        time.sleep(0.5)
        assert server.footprint.descriptors < before + 100
        assert server.status()["healthy"] is True
    assert until(lambda: server.footprint.descriptors <= before)
    assert get(server.address, "/")[0] == 200


def test_two_headers_where_there_must_be_one_are_no_request(server: Served) -> None:
    place = urlsplit(server.address)
    for twice in ("Host", "Origin"):
        with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
            lines = ["GET /stream HTTP/1.1", *[f"{twice}: {place.netloc}"] * 2, "", ""]
            connection.sendall("\r\n".join(lines).encode())
            answer = connection.makefile("rb").readline()
        assert b" 400 " in answer or b" 421 " in answer


def test_another_address_asks_for_a_token(word_model: Path, tmp_path: Path) -> None:
    """The token that is printed, or that of a file, which SIGHUP may name."""
    config = tmp_path / "config.toml"
    config.write_text("[serve]\n")
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    with Served(
        tmp_path, "http://0.0.0.0:0", "--config", str(config), "--model", str(word_model)
    ) as served:
        address = served.address.replace("0.0.0.0", "127.0.0.1")
        said = served.wait_for("is open to the network; the page for this run is http://0.0.0.0:")
        token = said.rpartition("#token=")[2]
        assert len(token) > 20
        assert status_of(address) == 401
        assert status_of(address, "rate=16000&token=" + token[:-1] + "?") == 401
        assert heard(address, bytes(RATE), f"token={token}")[-1]["type"] == "summary"
        bearer = {"Authorization": f"Bearer {token}"}
        assert heard(address, bytes(RATE), additional_headers=bearer)[-1]["type"] == "summary"
        assert get(address, "/")[0] == 200  # the page holds no secret

        config.write_text(f'[serve]\ntoken_file = "{secret}"\n')
        served.send_signal(signal.SIGHUP)
        served.wait_for("settings reloaded: serve.token_file")
        assert status_of(address, f"token={token}") == 401
        assert heard(address, bytes(RATE), f"token={TOKEN}")[-1]["type"] == "summary"
        assert not any(TOKEN in line for line in served.said)
        secret.write_text("short\n")
        served.send_signal(signal.SIGHUP)
        served.wait_for("has 5 characters; give it 16 or more")
        assert heard(address, bytes(RATE), f"token={TOKEN}")[-1]["type"] == "summary"
        assert served.end() == 0
