"""Asks the daemons of this user how they are, and watches one of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.health.places import sockets
from daemon.health.server import WATCH

LARGEST = 1 << 22
TIMEOUT = 3.0
SILENCE = 10.0
"""Seconds for which a daemon that is watched may say nothing; it does twice a second."""


def ask(path: Path, timeout: float = TIMEOUT) -> dict[str, Any] | None:
    """Answer of the daemon at `path`; None if nobody is there.

    Raises: TimeoutError if it does not answer within `timeout` seconds; ValueError if the answer is
    none.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        raw = b""
        try:
            connection.connect(str(path))
            while not raw.endswith(b"\n") and len(raw) < LARGEST:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                part = connection.recv(1 << 16)
                if not part:
                    break
                raw += part
        except TimeoutError:
            raise
        except OSError:
            return None
    if not raw:
        return None  # it ended while we asked
    answer = json.loads(raw)
    if not isinstance(answer, dict) or "healthy" not in answer:
        raise ValueError("no report")
    return answer


def watch(path: Path, timeout: float = SILENCE) -> Iterator[bytes]:
    """Lines of the daemon at `path`, the run first, until it ends.

    See `daemon.health.wire`. Also ends if the daemon drops this watcher, and at once if nobody is
    there.

    Raises: TimeoutError if nothing comes for `timeout` seconds, ValueError if a line has no end.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        rest = b""
        try:
            connection.connect(str(path))
            connection.sendall(WATCH)
            while part := connection.recv(1 << 16):
                *lines, rest = (rest + part).split(b"\n")
                yield from (line for line in lines if not line.startswith(b'{"healthy"'))
                if len(rest) > LARGEST:
                    raise ValueError("no line")
        except TimeoutError:
            raise
        except OSError:
            return


def running() -> list[tuple[Path, dict[str, Any] | str]]:
    """Every daemon of this user that runs: its report, or why it gave none."""
    found: list[tuple[Path, dict[str, Any] | str]] = []
    if not hasattr(socket, "AF_UNIX"):
        return found
    for path in sockets():
        try:
            report = ask(path)
        except TimeoutError:
            found.append((path, f"does not answer within {TIMEOUT:g} s"))
        except ValueError:
            found.append((path, "gives no report"))
        else:
            if report is not None:
                found.append((path, report))
    return found
