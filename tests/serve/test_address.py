"""Addresses to listen at, and the sockets that listen there."""

from __future__ import annotations

import socket
import stat
import sys
from pathlib import Path

import pytest

from daemon.base.errors import UserError
from daemon.serve.address import Address, listen, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:10400", Address("tcp", "127.0.0.1", 10400)),
        ("tcp://[::1]:0/", Address("tcp", "::1", 0)),
        ("tcp://kitchen.local:1", Address("tcp", "kitchen.local", 1)),
        ("unix:///run/user/1/a b.sock", Address("unix", path="/run/user/1/a b.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1:10400", "tcp://127.0.0.1", "tcp://:10400", "tcp://h:99999", "tcp://h:x",
        "stdio://", "unix://relative", "unix:/run/x", "tcp://u:p@h:1", "tcp://h:1/path",
        "tcp://h:1?a=b", "tcp://[::1", "ftp://h:1", "unix:///a\0b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_said_with_what_is(text: str) -> None:
    with pytest.raises(UserError, match=r"no address to listen at; write tcp://127.0.0.1:10400"):
        parse_address(text)


def test_a_port_that_is_taken_is_said() -> None:
    listener = listen(parse_address("tcp://127.0.0.1:0"))
    assert listener.local and listener.address.port > 0
    with pytest.raises(UserError, match="end what listens there"):
        listen(listener.address)
    listener.close()
    listen(listener.address).close()


def test_a_name_stands_for_all_its_addresses() -> None:
    listener = listen(parse_address("tcp://localhost:0"))
    assert listener.local and len({each.getsockname()[1] for each in listener.sockets}) == 1
    listener.close()


def test_another_address_is_not_local() -> None:
    listener = listen(parse_address("tcp://0.0.0.0:0"))
    assert not listener.local
    listener.close()


def test_a_machine_that_is_not_ours_is_said() -> None:
    with pytest.raises(UserError, match=r"address of this machine|name another address"):
        listen(parse_address("tcp://nowhere.invalid:1"))
    with pytest.raises(UserError, match="name another address"):
        listen(parse_address("tcp://192.0.2.1:1"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
def test_a_socket_is_its_owners_and_replaces_a_dead_one_only(tmp_path: Path) -> None:
    path = tmp_path / "s"
    address = parse_address(f"unix://{path}")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.listen()
    with pytest.raises(UserError, match="already in use"):
        listen(address)
    dead.close()  # as kill -9 leaves it
    listener = listen(address)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    assert not path.exists()
    path.write_text("not a socket")
    with pytest.raises(UserError, match="already in use"):
        listen(address)
    assert path.read_text() == "not a socket"
    with pytest.raises(UserError, match="can't listen at"):
        listen(parse_address(f"unix://{tmp_path}/{'x' * 200}"))
