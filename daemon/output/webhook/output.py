"""Posts each event as JSON to a URL, one after the other, with retries.

A request that fails is an OSError, so that the output's lane tries again later, with longer and
longer pauses, while further events wait in its queue.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
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

from daemon import __version__
from daemon.base.errors import UserError, os_reason
from daemon.base.text import escaped, value_text
from daemon.messages import MESSAGE_KINDS, Event, Message, RunInfo
from daemon.output.base import ActiveOutput, MessageDropped
from daemon.output.line_format import LineFormat
from daemon.output.webhook.signature import signature, signing_key

log = logging.getLogger(__name__)

MOST_REDIRECTS = 3
ANSWER_BYTES = 1 << 14
"""Read of an answer at most, so that the connection can be kept; the content is of no interest."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which a later attempt may succeed."""


class Webhook(ActiveOutput):
    """One URL that takes events.

    Requests carry the headers of Standard Webhooks: `webhook-id` (the same at each attempt, so that
    a receiver can tell repetitions) and `webhook-timestamp`; `webhook-signature` with a secret.
    """

    ignores: ClassVar[frozenset[type]] = frozenset(
        kind.message for kind in MESSAGE_KINDS if kind.message is not Event
    )

    def __init__(
        self,
        url: str,
        *,
        secret: str,
        token: str,
        ca_file: str,
        timeout: float,
        keep: float,
        queue: int,
    ) -> None:
        """Set up one URL.

        Args:
            secret: signs; empty, nothing is signed.
            token: sent as a bearer's; empty, none is.
            ca_file: certificates to trust in place of the system's; empty, those.
            timeout: of one attempt, s.
            keep: how long an event is tried, s.
            queue: events that wait, at most.

        Raises:
            UserError: the URL, the secret or the certificates can't be used.
        """
        self.capacity = queue
        self._path, self._pool = _pool(url, ca_file)
        parts = urlsplit(url)
        # The path may be what only the receiver should know.
        self._shown = f"{parts.scheme}://{parts.netloc}"
        try:
            self._key = signing_key(secret) if secret else None
        except ValueError as error:
            raise UserError(f"the webhook's secret can't be used: {error}") from None
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"intentd/{__version__}",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._timeout = timeout
        self._keep = keep
        self._format = LineFormat(())
        self._first_try: tuple[Event, str, float] | None = None
        self._late = False
        self._sent = self._refused = 0

    @property
    def name(self) -> str:
        return f"webhook to {escaped(self._shown)}"

    @property
    def state(self) -> str:
        return f"{self._sent} events taken, {self._refused} refused"

    def open(self, run: RunInfo) -> None:
        """Nothing is sent before the first event."""
        self._format = LineFormat(run.labels)

    def publish(self, message: Message) -> None:
        """Send one event.

        Raises: OSError if a later attempt may succeed, MessageDropped if not.
        """
        if not isinstance(message, Event):
            return
        identifier, since = self._attempt(message)
        try:
            status = self._post(identifier, self._format.line(message).rstrip(b"\n"))
        except OSError as error:
            self._give_up_late(since, os_reason(error))
            raise
        if 200 <= status < 300:
            self._sent += 1
            self._first_try = None
        elif status in TRY_AGAIN:
            self._give_up_late(since, f"the server answers {_answer(status)}")
            raise OSError(f"the server answers {_answer(status)}")
        else:
            self._first_try = None
            self._refused += 1
            raise MessageDropped(f"the server answers {_answer(status)}")

    def reopen(self) -> None:
        """Nothing to open: a broken connection is made again."""

    def close(self) -> None:
        self._pool.close()

    def _attempt(self, event: Event) -> tuple[str, float]:
        """Identifier of the event, and when it was tried first."""
        if self._first_try is None or self._first_try[0] is not event:
            self._first_try = (event, f"msg_{uuid.uuid4().hex}", time.monotonic())
        return self._first_try[1:]

    def _give_up_late(self, since: float, reason: str) -> None:
        """Raise MessageDropped if the event has been tried for long enough."""
        if time.monotonic() - since >= self._keep:
            self._first_try = None
            raise MessageDropped(f"tried for {self._keep:g} s: {reason}")

    def _post(self, identifier: str, body: bytes) -> int:
        """The status of the answer. Raises OSError, MessageDropped."""
        timestamp = int(time.time())
        headers = self._headers | {"webhook-id": identifier, "webhook-timestamp": str(timestamp)}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, identifier, timestamp, body)
        try:
            with self._deadline():
                answer = self._pool.urlopen(
                    "POST",
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
            self._refused += 1
            raise MessageDropped(
                "the server redirects to another host; if that is right, name its URL"
            ) from None
        except (HTTPError, http.client.HTTPException) as error:
            late = OSError(f"no answer within {self._timeout:g} s")
            raise (late if self._late else _as_os_error(error, self._timeout)) from None
        if self._late:  # what was cut in its middle reads like a whole answer
            raise OSError(f"no answer within {self._timeout:g} s")
        return int(answer.status)

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
    import os
    import ssl

    return ssl.create_default_context(cafile=os.path.expanduser(ca_file) if ca_file else None)  # noqa: PTH111


def _finish(answer: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection if the answer was read to its end, else close it."""
    if getattr(answer, "length_remaining", None) == 0 or answer.closed:
        answer.release_conn()
    else:
        answer.close()


def _answer(status: int) -> str:
    phrase = http.client.responses.get(status, "")
    return f"{status} {phrase}".strip()


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
