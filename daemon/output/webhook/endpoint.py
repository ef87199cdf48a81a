"""A URL for requests: one connection, each attempt with a time limit."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    HostChangedError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    SSLError,
)
from urllib3.util import Retry, Timeout

from daemon.base.errors import UserError, os_reason
from daemon.base.network import without_path
from daemon.base.text import escaped, value_text

MOST_REDIRECTS = 3
ANSWER_BYTES = 1 << 14
"""Read of an answer at most, so that the connection can be kept; the content is of no interest."""


class RedirectedError(Exception):
    """The server redirects to another host."""


class Endpoint:
    """One URL and the connection to its host.

    ca_file: certificates to trust in place of the system's; empty, those.
    timeout: of one request, s.
    """

    def __init__(self, url: str, *, ca_file: str, timeout: float) -> None:
        """Raises: UserError if the URL or the certificates can't be used."""
        self._path, self._pool = _pool(url, ca_file)
        self._timeout = timeout
        self._late = False
        # The path may be what only the receiver should know.
        self.shown = escaped(without_path(url))

    def request(self, method: str, headers: Mapping[str, str], body: bytes = b"") -> int:
        """Send one request; the status of the answer.

        Raises: OSError if there is none, RedirectedError.
        """
        try:
            with self._deadline():
                answer = self._pool.urlopen(
                    method,
                    self._path,
                    body=body,
                    headers=headers,
                    # Only redirects, and of those only within the host (HostChangedError).
                    retries=Retry(
                        total=MOST_REDIRECTS, connect=0, read=0, other=0, redirect=MOST_REDIRECTS,
                        raise_on_redirect=True,
                    ),
                    timeout=Timeout(connect=self._timeout, read=self._timeout),
                    preload_content=False,
                )  # fmt: skip
                try:
                    answer.read(ANSWER_BYTES)
                finally:
                    _finish(answer)
        except HostChangedError:
            raise RedirectedError from None
        except (HTTPError, http.client.HTTPException) as error:
            late = OSError(f"no answer within {self._timeout:g} s")
            raise (late if self._late else _as_os_error(error, self._timeout)) from None
        if self._late:  # what was cut in its middle reads like a whole answer
            raise OSError(f"no answer within {self._timeout:g} s")
        return int(answer.status)

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.close()

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        """Cut the connection once the whole attempt has taken too long.

        Timeouts of sockets begin again with each byte.
        """
        self._late = False
        timer = threading.Timer(self._timeout, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._late = True
        connection = self._pool.current
        sock = None if connection is None else getattr(connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Kept:
    """Mixed into urllib3's pools: remembers the connection that was made last."""

    current: Any = None

    def _new_conn(self) -> Any:
        self.current = super()._new_conn()  # type: ignore[misc]
        return self.current


class _HTTPPool(_Kept, urllib3.HTTPConnectionPool):
    pass


class _HTTPSPool(_Kept, urllib3.HTTPSConnectionPool):
    pass


def _pool(url: str, ca_file: str) -> tuple[str, _HTTPPool | _HTTPSPool]:
    """Path with query, and the connections to the host. Raises UserError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url or not url.isascii():
        raise UserError(
            f"output.webhook is {value_text(url)}; it must be a URL that begins with http:// or "
            "https://"
        )
    path = parts.path or "/"
    path = f"{path}?{parts.query}" if parts.query else path
    host = parts.hostname or ""
    if parts.scheme == "http":
        return path, _HTTPPool(host, parts.port, maxsize=1)
    try:
        return path, _HTTPSPool(host, parts.port, maxsize=1, ssl_context=_trusting(ca_file))
    except OSError as error:
        raise UserError(
            f"webhook.ca_file is {escaped(ca_file)}, which can't be used ({os_reason(error)}); "
            "name a file of PEM certificates"
        ) from None


def _trusting(ca_file: str) -> Any:
    return ssl.create_default_context(cafile=os.path.expanduser(ca_file) if ca_file else None)  # noqa: PTH111


def _finish(answer: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection if the answer was read to its end, else close it."""
    if getattr(answer, "length_remaining", None) == 0 or answer.closed:
        answer.release_conn()
    else:
        answer.close()


def _as_os_error(error: Exception, timeout: float) -> OSError:
    """urllib3's error as the system's, with a reason in few words."""
    cause: BaseException = error
    if isinstance(error, MaxRetryError) and error.reason is not None:
        cause = error.reason
    root: BaseException | None = cause
    while root is not None and not (isinstance(root, TimeoutError | OSError) and root.args):
        root = root.__cause__ or root.__context__
    text = "the server closed the connection without an answer"
    if isinstance(cause, SSLError):
        text = f"TLS failed: {escaped(str(cause), 200)}"
    elif "redirect" in str(cause):
        text = "the server redirects too often"
    elif isinstance(root, TimeoutError) or "timed out" in str(cause):
        text = f"no answer within {timeout:g} s"
    elif isinstance(cause, NameResolutionError):
        text = "the host's name can't be resolved"
    elif isinstance(root, OSError) and root.errno:
        return OSError(root.errno, root.strerror or str(root))
    return OSError(text)
