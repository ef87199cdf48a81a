"""Addresses to listen at, and the sockets that listen there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from daemon.base.errors import UserError, os_reason
from daemon.base.text import value_text

DEFAULT: Final = "tcp://127.0.0.1:10400"
"""Where Wyoming's wake word services listen by convention, on this machine only."""
EXAMPLES: Final = f"{DEFAULT}, unix:///run/user/1000/intentd.wyoming or http://127.0.0.1:10480"
SCHEMES: Final = ("tcp", "unix", "http")
_BACKLOG = 64
_SEND_BYTES = 1 << 16
"""Answers that the system keeps for a client; left to itself, megabytes of what nobody reads."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: "unix" has a `path`, others `host` and `port`."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{host_port(self.host, self.port)}"


def parse_address(text: str) -> Address:
    """Raises `UserError` if it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _no_address(text) from None
    if parts.scheme not in SCHEMES or parts.query or parts.fragment or parts.username is not None:
        raise _no_address(text)
    if parts.scheme == "unix":
        path = text.removeprefix("unix://")
        if not path.startswith("/") or "\0" in path or parts.netloc:
            raise _no_address(text)
        return Address("unix", path=path)
    if not parts.hostname or port is None or parts.path not in ("", "/"):
        raise _no_address(text)
    return Address(parts.scheme, parts.hostname, port)


def _no_address(text: str) -> UserError:
    return UserError(f"{value_text(text)} is no address to listen at; write {EXAMPLES}")


def host_port(host: str, port: int) -> str:
    """ "127.0.0.1:80", "[::1]:80"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """Sockets that listen at one address: a name may stand for several."""

    address: Address
    """With the port that was taken where 0 was asked for."""
    sockets: tuple[socket.socket, ...]
    local: bool
    """Nobody but this machine can reach it."""

    def close(self) -> None:
        """Stop listening."""
        for each in self.sockets:
            each.close()
        if self.address.scheme == "unix":
            with contextlib.suppress(OSError):
                Path(self.address.path).unlink()


def listen(address: Address) -> Listener:
    """Raises `UserError` if nobody can listen there."""
    try:
        if address.scheme == "unix":
            return Listener(address, (_listen_at_path(address.path),), local=True)
        return _listen_at_host(address)
    except OSError as error:
        raise UserError(
            f"intentd can't listen at {address} ({_reason(error)}); end what listens there, or "
            "name another address"
        ) from None


def _reason(error: OSError) -> str:
    """The system's words; asyncio and `socket` add the address to them."""
    return os.strerror(error.errno).lower() if error.errno else os_reason(error)


def _listen_at_host(address: Address) -> Listener:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "no name of a machine"
        raise UserError(
            f"intentd can't listen at {address} ({reason}); name an address of this machine"
        ) from None
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, target in found:
            one = socket.create_server(
                (str(target[0]), port), family=family, backlog=_BACKLOG, reuse_port=False
            )
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)  # clients' get it too
            sockets.append(one)
            port = port or one.getsockname()[1]
    except OSError:
        _close(sockets)
        raise
    local = all(_is_loopback(str(target[0])) for *_, target in found)
    return Listener(Address(address.scheme, address.host, port), tuple(sockets), local)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _listen_at_path(path: str) -> socket.socket:
    """A socket that only this user may connect to.

    One that nobody listens at is replaced.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(0, "this system has no Unix sockets")
    place = Path(path)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(place.stat(follow_symlinks=False).st_mode) and _refuses(path):
            place.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except (OSError, ValueError):
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _refuses(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()
