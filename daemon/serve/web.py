"""Web page that listens to a microphone, and the WebSocket for its sound.

`GET /` is the page. A WebSocket at `/stream?rate=48000&channels=1` takes binary messages of 16-bit
little-endian PCM; an empty text message ends the stream. What comes back are text messages: first
`{"type":"model",…}`, then the JSON lines of the stream (docs/output.md), its summary last.

Whoever can reach a loopback address is this machine's user; a page of another origin is not, and
neither is one that reaches us under a foreign name (DNS rebinding). At any other address a token is
asked for.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import socket
import time
from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from daemon.messages import Event, Gap, Message, Prediction, RunInfo
from daemon.output.line_format import LineFormat
from daemon.serve.address import Address, host_port
from daemon.serve.client_stream import ClientStream
from daemon.serve.hub import Hub
from daemon.serve.pace import Pace
from daemon.serve.pcm import FormatError, PcmFormat

log = logging.getLogger(__name__)

FRAME_BYTES: Final = 1 << 18
"""Most that a message may have: three seconds of 16-bit sound at 44.1 kHz."""
WAITING_FRAMES: Final = 4
"""Messages that are read ahead of the worker."""
HANDSHAKE_SECONDS: Final = 10.0
MOST_HANDSHAKES: Final = 64
"""Connections that have not said yet what they want, at most."""
PING_SECONDS: Final = 20.0
"""How often a browser is asked whether it is there, and how long it may take to answer."""
STALL_SECONDS: Final = 10.0
"""A client that sends no sound for this long is disconnected."""
SUMMARY_SECONDS: Final = 30.0
UNREAD_BYTES: Final = 1 << 18
"""Lines that a client may leave unread before it is disconnected: two minutes."""
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/recorder.js": ("recorder.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
    "Cache-Control": "no-store",
}
_WANTS: Final = frozenset({Prediction, Event, Gap})


class WebListener:
    """Answers browsers at one address.

    token: what every WebSocket has to know; empty: nothing.
    crowded: whether as many clients are connected as may be.
    attended: called with True when a client comes and False when it goes.
    """

    def __init__(
        self,
        address: Address,
        hub: Hub,
        *,
        token: Callable[[], str],
        local: bool,
        crowded: Callable[[], bool],
        attended: Callable[[bool], None],
    ) -> None:
        self._address = address
        self._hub = hub
        self._token = token
        self._local = local
        self._crowded = crowded
        self._attended = attended
        self._shaking_hands = 0

    async def start(self, at: socket.socket) -> Server:
        """Serve connections of a listening socket."""
        return await serve(
            self._attend,
            sock=at,
            process_request=self._answer,
            create_connection=partial(_Connection, self),  # type: ignore[arg-type]
            max_size=FRAME_BYTES,
            max_queue=WAITING_FRAMES,
            write_limit=UNREAD_BYTES,
            open_timeout=HANDSHAKE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            close_timeout=1.0,
            compression=None,
            server_header=None,
            logger=_QUIET,
        )

    def admit(self) -> bool:
        """Whether another connection may say what it wants; `done` follows if so."""
        if self._shaking_hands >= MOST_HANDSHAKES:
            return False
        self._shaking_hands += 1
        return True

    def done(self) -> None:
        """A connection that was admitted has said what it wants, or has gone."""
        self._shaking_hands -= 1

    # ---- requests --------------------------------------------------------------------------------

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The page's files, or a refusal; None lets a WebSocket through."""
        try:
            path, host = urlsplit(request.path), request.headers.get("Host", "")
            request.headers.get("Origin")
        except (LookupError, ValueError):  # several of one kind, or no address
            return _refuse(HTTPStatus.BAD_REQUEST, "no request that makes sense")
        if self._local and not self._is_local_name(host):
            return _refuse(HTTPStatus.MISDIRECTED_REQUEST, "another host's name")
        if path.path in _FILES:
            name, kind = _FILES[path.path]
            return _response(HTTPStatus.OK, _content(name), kind)
        if path.path != "/stream":
            return _refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        return self._refusal(request, host)

    def _refusal(self, request: Request, host: str) -> Response | None:
        """Why a WebSocket can't be; None if it can."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refuse(HTTPStatus.FORBIDDEN, "another page's origin")
        if not self._admits(request):
            return _refuse(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        if self._crowded():
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients are connected")
        try:
            _format(urlsplit(request.path).query)
        except FormatError as error:
            return _refuse(HTTPStatus.BAD_REQUEST, str(error))
        return None

    def _is_local_name(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name in {"localhost", "127.0.0.1", "::1", self._address.host.lower()}

    def _admits(self, request: Request) -> bool:
        token = self._token()
        if not token:
            return True
        given = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = bearer.strip()
        return hmac.compare_digest(given.encode(), token.encode())

    # ---- sound -----------------------------------------------------------------------------------

    async def _attend(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        peer = connection.remote_address
        name = host_port(str(peer[0]), int(peer[1]))
        self._attended(True)
        log.info("%s is connected", name)
        try:
            await _Listening(connection, name, self._hub).run(
                _format(urlsplit(connection.request.path).query)
            )
        except (ConnectionClosed, OSError) as error:
            log.info("%s is gone: %s", name, type(error).__name__)
        except Exception:
            log.exception("the connection of %s failed", name)
        finally:
            self._attended(False)


class _Connection(ServerConnection):
    """A connection that is closed at once where too many are silent yet.

    Each takes a descriptor, of which a process may have no more than a thousand.
    """

    def __init__(self, listener: WebListener, *about: Any, **more: Any) -> None:
        super().__init__(*about, **more)
        self._listener = listener
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._admitted = self._listener.admit()
        if not self._admitted:
            self.transport.abort()

    async def handshake(self, *about: Any, **more: Any) -> None:
        try:
            await super().handshake(*about, **more)
        finally:
            if self._admitted:
                self._admitted = False
                self._listener.done()


class _Listening:
    """One WebSocket, from its first sound to its summary."""

    def __init__(self, connection: ServerConnection, name: str, hub: Hub) -> None:
        self._connection = connection
        self._name = name
        self._hub = hub
        self._lines = LineFormat(hub.run.labels)
        self._out: asyncio.Queue[str | None] = asyncio.Queue()

    async def run(self, form: PcmFormat) -> None:
        """Raises ConnectionClosed, TimeoutError."""
        stream = self._hub.begin_stream(self._name, form, self._take, _WANTS)
        sender = asyncio.create_task(self._send_all())
        try:
            self._out.put_nowait(model_line(self._hub.run))
            await self._hear(stream)
            stream.finish()
            await stream.wait_for_summary(SUMMARY_SECONDS)
            self._out.put_nowait(None)
            await sender
        finally:
            stream.finish()
            sender.cancel()

    async def _hear(self, stream: ClientStream) -> None:
        pace = Pace()
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                message = await self._connection.recv()
            if isinstance(message, str):
                return
            await stream.feed(message, paused=self._hub.paused)
            if wait := pace.take(time.monotonic()):
                await asyncio.sleep(wait)

    def _take(self, message: Message) -> None:
        """A message on this client's sound."""
        transport = self._connection.transport
        if transport.get_write_buffer_size() > UNREAD_BYTES or self._out.qsize() > _MOST_LINES:
            log.info("%s is disconnected: it reads nothing", self._name)
            transport.abort()
            return
        self._out.put_nowait(self._lines.line(message).decode().rstrip("\n"))

    async def _send_all(self) -> None:
        while (line := await self._out.get()) is not None:
            await self._connection.send(line)


_MOST_LINES: Final = 512
_QUIET: Final = logging.getLogger(f"{__name__}.websockets")
_QUIET.setLevel(logging.CRITICAL)  # what strangers send is no news


def model_line(run: RunInfo) -> str:
    """What a client has to know to show what comes."""
    return json.dumps(
        {
            "type": "model",
            "model": run.model,
            "labels": run.labels,
            "intents": [label for label in run.labels if label not in run.non_intents],
            "thresholds": dict(zip(run.labels, run.thresholds, strict=True)),
            "window": run.window,
            "hop": run.hop,
        },
        ensure_ascii=True,
    )


def _format(query: str) -> PcmFormat:
    """Raises FormatError."""
    values = parse_qs(query)

    def number(name: str, default: str) -> int | str:
        text = values.get(name, [default])[0]
        return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text

    return PcmFormat.checked(number("rate", "16000"), 2, number("channels", "1"))


@cache
def _content(name: str) -> bytes:
    return files("daemon.serve").joinpath("page", name).read_bytes()


def _refuse(status: HTTPStatus, why: str) -> Response:
    return _response(status, f"{why}\n".encode(), "text/plain; charset=utf-8")


def _response(status: HTTPStatus, body: bytes, kind: str) -> Response:
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **_HEADERS,
        }
    )
    return Response(status.value, status.phrase, headers, body)
