"""Host and port as users write them, and what reaching them takes."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

IP_FAMILIES: Final = ("AF_INET", "AF_INET6", "AF_NETLINK")
"""Address families that a host's name may need; resolving it looks at the interfaces."""


def split_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[::1]:port". Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not text.isprintable() or " " in text:
        raise ValueError("no text of an address")
    if not parts.hostname or not parts.port or parts.netloc != text or "@" in text:
        raise ValueError("no host and port")
    return parts.hostname, parts.port


def host_of(target: str) -> str:
    """The host of "host:port" or of a URL; empty if there is none."""
    try:
        return urlsplit(target if "//" in target else f"//{target}").hostname or ""
    except ValueError:
        return ""


def port_of(address: str) -> int | None:
    """The port of "host:port"; None if there is none."""
    try:
        return split_address(address)[1]
    except ValueError:
        return None


def without_path(url: str) -> str:
    """Scheme, host and port of a URL; what is none stays as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else url


def address_families(host: str) -> tuple[str, ...]:
    """Address families, by systemd's names, that a socket to `host` needs."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return IP_FAMILIES
    return ("AF_INET",) if version == 4 else ("AF_INET6",)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
