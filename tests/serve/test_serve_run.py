"""A run of `intentd serve`: SIGHUP, its end, addresses it can't have."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from support.making import speechlike
from support.run_controls import free_port
from support.served import (
    Served,
    detections,
    events_of,
    is_closed,
    send_now,
)
from wyoming.client import AsyncClient
from wyoming.event import Event

from daemon.cli import run

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]
RATE = 16000


def test_settings_change_with_sighup_and_a_term_ends_in_order(
    word_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "serve.sock"
    config = tmp_path / "config.toml"
    config.write_text(f'[serve]\nlisten = ["unix://{path}"]\nclients = 2\n')
    with Served(
        tmp_path, "--config", str(config), "--model", str(word_model),
        "--set", "output.types=start,event,summary",
    ) as served:  # fmt: skip
        assert served.addresses == [f"unix://{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert send_now(served.address, events_of(speechlike(6.0, seed=3), RATE))
        start, *_, summary = served.wait_for_lines("summary", 1) and served.lines()
        assert (start["type"], start["stream"]) == ("start", "unix-1")
        assert (summary["type"], summary["stream"]) == ("summary", "unix-1")

        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
            third = stack.enter_context(socket.socket(socket.AF_UNIX))
            third.connect(str(path))
            served.wait_for("a client was refused, since 2 are connected; serve.clients allows")
            assert is_closed(third)

        config.write_text('[serve]\nlisten = ["tcp://127.0.0.1:0"]\n')
        served.send_signal(signal.SIGHUP)
        tcp = served.wait_for("listening to clients at tcp://").split()[-1]
        served.wait_for(f"no longer listening to clients at unix://{path}")
        assert not path.exists()
        report = served.status()
        assert report["listening"] == [tcp] and report["healthy"] is True
        config.write_text('[serve]\nlisten = ["tcp://127.0.0.1"]\n')
        served.send_signal(signal.SIGHUP)
        served.wait_for("is no address to listen at")

        async def end_in_the_middle() -> None:
            async with AsyncClient.from_uri(tcp) as client:
                for event in events_of(speechlike(6.0, seed=3), RATE)[:-1]:
                    await client.write_event(event)
                found: list[Event] = []
                while len(detections(found)) < 2:
                    event = await client.read_event()
                    assert event is not None
                    found.append(event)
                served.send_signal(signal.SIGTERM)
                with contextlib.suppress(ConnectionError):  # it had not read everything
                    while await client.read_event() is not None:
                        pass

        asyncio.run(end_in_the_middle())
        assert served.wait() == 0
        last = served.lines("summary")[-1]
        assert 2 * RATE < last["samples_captured"] <= 6 * RATE
        assert last["samples_captured"] == last["samples_classified"] + last["samples_gated"]


def test_with_sighup_everything_changes_or_nothing(word_model: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[serve]\nlisten = ["tcp://127.0.0.1:0"]\n')
    with Served(tmp_path, "--config", str(config), "--model", str(word_model)) as served:
        tcp = served.address
        port, metrics = int(tcp.rpartition(":")[2]), free_port()
        taken = socket.create_server(("", 0))
        config.write_text(
            f'[output]\nmetrics = "127.0.0.1:{metrics}"\n[serve]\n'
            f'listen = ["tcp://0.0.0.0:{port}", "tcp://127.0.0.1:{taken.getsockname()[1]}"]\n'
        )
        served.send_signal(signal.SIGHUP)
        served.wait_for("nothing was reloaded, the old settings stay")
        assert served.status()["listening"] == [tcp]
        assert socket.socket().connect_ex(("127.0.0.1", metrics)) != 0
        taken.close()
        served.send_signal(signal.SIGHUP)
        served.wait_for("is open to the network")
        assert served.status()["listening"][0] == f"tcp://0.0.0.0:{port}"
        assert socket.socket().connect_ex(("127.0.0.1", metrics)) == 0


def test_another_address_than_loopback_is_said_aloud(word_model: Path, tmp_path: Path) -> None:
    with Served(tmp_path, "tcp://0.0.0.0:0", "--model", str(word_model)) as served:
        assert "open to the network" in served.wait_for("tcp://0.0.0.0")
        assert served.end(signal.SIGINT) == 130


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "wyoming", None)
    assert run(["serve"]) == 2
    assert "pip install 'intentd[serve]'" in capsys.readouterr().err
