"""Posts each event as JSON to a URL, one after the other, with retries.

A request that fails is an OSError, so that the output's lane tries again later, with longer and
longer pauses, while further events wait in its queue.
"""

from __future__ import annotations

import http.client
import logging
import time
import uuid
from collections.abc import Callable
from typing import ClassVar

from daemon import __version__
from daemon.base.errors import UserError, os_reason
from daemon.messages import Event, Message, RunInfo
from daemon.output.base import ActiveOutput, MessageDropped
from daemon.output.line_format import LineFormat
from daemon.output.webhook.endpoint import Endpoint, RedirectedError
from daemon.output.webhook.signature import signature, signing_key

log = logging.getLogger(__name__)

TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which a later attempt may succeed."""


class Webhook(ActiveOutput):
    """One URL that takes events.

    Requests carry the headers of Standard Webhooks: `webhook-id` (the same at each attempt, so that
    a receiver can tell repetitions) and `webhook-timestamp`; `webhook-signature` with a secret.
    """

    takes: ClassVar[frozenset[type]] = frozenset({Event})

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        credentials: Callable[[], tuple[str, str]],
        keep: float,
        queue: int,
    ) -> None:
        """Set up one URL.

        Args:
            endpoint: the URL.
            credentials: read the secret that signs and a bearer's token; each may be empty.
            keep: how long an event is tried, s.
            queue: events that wait, at most.

        Raises:
            UserError: the secret or the token can't be used.
        """
        self.capacity = queue
        self._endpoint = endpoint
        self._read_credentials = credentials
        self._key: bytes | None = None
        self._headers: dict[str, str] = {}
        self._use_credentials()
        self._keep = keep
        self._format = LineFormat(())
        self._first_try: tuple[Event, str, float] | None = None
        self._sent = self._refused = 0

    @property
    def name(self) -> str:
        return f"webhook to {self._endpoint.shown}"

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
        """Read the secret and the token again; broken connections are remade."""
        try:
            self._use_credentials()
        except UserError as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        self._endpoint.close()

    def _use_credentials(self) -> None:
        """Raises UserError."""
        secret, token = self._read_credentials()
        try:
            self._key = signing_key(secret) if secret else None
        except ValueError as error:
            raise UserError(f"the webhook's secret can't be used: {error}") from None
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"intentd/{__version__}",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }

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
            return self._endpoint.request("POST", headers, body)
        except RedirectedError:
            self._refused += 1
            raise MessageDropped(
                "the server redirects to another host; if that is right, name its URL"
            ) from None


def _answer(status: int) -> str:
    phrase = http.client.responses.get(status, "")
    return f"{status} {phrase}".strip()
