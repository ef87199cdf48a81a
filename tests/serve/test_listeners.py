"""Addresses that are exchanged while a server runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.run_controls import free_port

from daemon.base.errors import UserError
from daemon.capture.wake import Wake
from daemon.config import ServeSettings
from daemon.serve.server import ClientServer


@pytest.fixture
def server() -> Iterator[ClientServer]:
    pytest.importorskip("wyoming")
    made = ClientServer(ServeSettings(), Wake(), otherwise=["tcp://127.0.0.1:0"])
    made.start()
    yield made
    made.stop()
    made.close()


def listens(address: str) -> bool:
    host, _, port = address.rpartition("//")[2].rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_without_settings_it_listens_elsewhere(server: ClientServer, tmp_path: Path) -> None:
    (first,) = server.addresses
    assert first.startswith("tcp://127.0.0.1:") and listens(first)
    path = f"unix://{tmp_path}/socket"
    server.adopt(ServeSettings(listen=[path]))
    assert server.addresses == (path,) and not listens(first)
    server.adopt(ServeSettings())
    (again,) = server.addresses
    assert listens(again) and not (tmp_path / "socket").exists()


@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_a_port_passes_from_one_host_to_another_and_back(server: ClientServer, scheme: str) -> None:
    port = free_port()
    for host in ("127.0.0.1", "0.0.0.0", "127.0.0.1"):
        server.adopt(ServeSettings(listen=[f"{scheme}://{host}:{port}"]))
        assert server.addresses == (f"{scheme}://{host}:{port}",)
        assert listens(f"{scheme}://127.0.0.1:{port}")
    sentences = [status.text for status in server.take_statuses()]
    assert f"no longer listening to clients at {scheme}://0.0.0.0:{port}" in sentences


def test_if_one_cannot_be_listened_at_all_stay(server: ClientServer) -> None:
    port = free_port()
    before = f"http://127.0.0.1:{port}"
    server.adopt(ServeSettings(listen=[before]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        wanted = [f"tcp://0.0.0.0:{port}", busy]
        with pytest.raises(UserError, match="can't listen at"):
            server.adopt(ServeSettings(listen=wanted))
        assert server.addresses == (before,) and listens(before)
    server.adopt(ServeSettings(listen=wanted))
    assert set(server.addresses) == set(wanted) and all(listens(each) for each in [busy, before])
