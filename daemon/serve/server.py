"""Listens to clients at the addresses of the settings, in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final

from daemon.base.errors import UserError
from daemon.base.loop_thread import LoopThread
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.config import ServeSettings
from daemon.messages import (
    Event,
    Gap,
    Message,
    Prediction,
    Rejection,
    RunInfo,
    Status,
    StreamInfo,
    Summary,
)
from daemon.serve.address import Address, Listener, host_port
from daemon.serve.client_stream import ClientStream
from daemon.serve.listeners import Listeners, Serve, parsed
from daemon.serve.pcm import PcmFormat
from daemon.serve.token import read_token

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 0.3
"""What clients get at the end to take their last answers."""
_MOST_STATUSES: Final = 256
"""Between two looks at them; strangers may cause any number."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds and probes after which a client counts as gone that vanished without a word."""


class ClientServer:
    """Clients' sound as streams of a run, and messages back to the clients.

    It is a source of sound, which the engine starts and stops, and an output, which gets all
    messages and hands each to the client whose stream it is on.

    wake: set when there is sound for the worker.
    otherwise: addresses to listen at where the settings name none.
    """

    name = "clients"
    takes: ClassVar[frozenset[type]] = frozenset({Prediction, Event, Rejection, Gap, Summary})

    def __init__(
        self, settings: ServeSettings, wake: Wake, *, otherwise: Sequence[str] = ()
    ) -> None:
        """A server at the addresses of `settings`.

        Raises: UserError for what is no address, and where a package is missing.
        """
        self.on_stream: Callable[[StreamInfo, Ring], None] = lambda _info, _ring: None
        """Called in the server's thread with each new stream, before its first sample."""
        self.paused = False
        """Sound that comes is counted as lost."""
        self._settings = settings
        self._wake = wake
        self._run: RunInfo | None = None
        self._loop = LoopThread("clients")
        self._otherwise = otherwise
        self._wanted = parsed(settings.listen or otherwise)
        self._listeners = Listeners(
            self._loop, server_of=self._server_of, left=self._disconnect_from, say=self._say
        )
        self._connections: dict[asyncio.Task[None], Address] = {}
        self._browsers = 0
        self._token = ""
        self._streams: dict[str, ClientStream] = {}
        self._numbers: dict[Address, int] = {}
        self._statuses: deque[Status] = deque(maxlen=_MOST_STATUSES)
        self._closing = False

    # ---- for the main thread ---------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """There are addresses to listen at."""
        return bool(self._wanted) and not self._closing

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return self._listeners.addresses

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._connections) + self._browsers

    @property
    def failed(self) -> bool:
        """Its thread has died."""
        return bool(self._listeners.addresses) and not self._closing and not self._loop.running

    def start(self) -> None:
        """Listen. Raises `UserError` if it can't at one of the addresses."""
        self._token = read_token(self._settings.token_file)
        self._listeners.exchange(self._wanted)

    def adopt(self, settings: ServeSettings) -> None:
        """Listen at other addresses; clients at those that stay are unaffected.

        Raises: UserError, and everything stays as it was.
        """
        wanted, before = parsed(settings.listen or self._otherwise), self._token
        self._token = read_token(settings.token_file)
        try:
            self._listeners.exchange(wanted)
        except UserError:
            self._token = before
            raise
        self._wanted, self._settings = wanted, settings

    def stop(self) -> None:
        """Take no more sound; what has come is still processed.

        May be called twice.
        """
        self._closing = True
        if self._loop.running:
            with contextlib.suppress(RuntimeError, TimeoutError):
                self._loop.run(self._finish_streams(), 1.0)

    def take_statuses(self) -> list[Status]:
        """What is to be published, since the last call."""
        taken = []
        while self._statuses:
            taken.append(self._statuses.popleft())
        return taken

    # ---- as an output, in the thread of its lane -------------------------------------------------

    def open(self, run: RunInfo) -> None:
        """`run`: the description that clients get."""
        self._run = run

    def publish(self, message: Message) -> None:
        """Hand a message to the client whose stream it is on."""
        stream = self._streams.get(message.stream or "")
        if stream is not None and type(message) in stream.wants:
            self._loop.call(stream.publish, message)

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Disconnect all clients, who have got every message, and end the thread."""
        self._closing = True
        if self._loop.running:
            with contextlib.suppress(RuntimeError, TimeoutError):
                self._loop.run(self._disconnect(), CLOSE_SECONDS + 1.0)
        self._loop.stop()

    # ---- addresses -------------------------------------------------------------------------------

    def _say(self, sentence: str, level: str = "info") -> None:
        self._statuses.append(Status(None, sentence, level))

    def _server_of(self, listener: Listener) -> Serve:
        if listener.address.scheme == "http":
            return self._serve_browsers(listener)
        if not listener.local:
            self._say(_open_to_all(listener.address), "warning")
        return partial(self._serve_wyoming, listener.address)

    def _disconnect_from(self, address: Address) -> None:
        for task, at in list(self._connections.items()):
            if at == address:
                task.cancel()

    def _serve_browsers(self, listener: Listener) -> Serve:
        """Serve browsers at `listener`.

        Without a token of the user's, another address than loopback gets one for this run.
        """
        from daemon.serve.web import WebListener

        own = "" if listener.local else secrets.token_urlsafe(18)
        if own and not self._token:
            where = f"{listener.address}/#token={own}"
            text = f"{listener.address} is open to the network; the page for this run is {where}"
            self._say(text, "warning")
        web = WebListener(
            listener.address,
            self,
            token=lambda: self._token or own,
            local=listener.local,
            crowded=lambda: self._closing or self.clients >= self._settings.clients,
            attended=self._count_browser,
        )
        return web.start

    def _count_browser(self, comes: bool) -> None:
        self._browsers += 1 if comes else -1

    async def _serve_wyoming(self, address: Address, at: socket.socket) -> asyncio.Server:
        from daemon.serve.wyoming_connection import HEADER_BYTES

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._attend(reader, writer, address)

        start = asyncio.start_unix_server if address.scheme == "unix" else asyncio.start_server
        return await start(connected, sock=at, limit=HEADER_BYTES)

    # ---- clients, in the loop --------------------------------------------------------------------

    async def _attend(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address
    ) -> None:
        from daemon.serve.wyoming_connection import WyomingConnection

        task = asyncio.current_task()
        assert task is not None
        if self._closing or self.clients >= self._settings.clients:
            self._refuse(writer)
            return
        self._connections[task] = address
        name = self._name(writer, address)
        log.info("%s is connected", name)
        try:
            _keep_alive(writer.get_extra_info("socket"))
            await WyomingConnection(reader, writer, name, self).run()
        except asyncio.CancelledError:
            pass  # the server ends, or listens there no more
        except Exception:
            log.exception("the connection of %s failed", name)
        finally:
            self._connections.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()
            log.info("%s is gone", name)

    def _refuse(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        if not self._closing:
            most = self._settings.clients
            text = f"a client was refused, since {most} are connected; serve.clients allows more"
            self._say(text, "warning")

    def _name(self, writer: asyncio.StreamWriter, address: Address) -> str:
        """The client's address, or its number at a Unix socket."""
        peer = writer.get_extra_info("peername")
        if address.scheme != "unix" and isinstance(peer, tuple):
            return host_port(str(peer[0]), int(peer[1]))
        number = self._numbers[address] = self._numbers.get(address, 0) + 1
        return f"unix-{number}"

    # ---- what connections ask of it --------------------------------------------------------------

    @property
    def run(self) -> RunInfo:
        assert self._run is not None
        return self._run

    def begin_stream(
        self, name: str, form: PcmFormat, take: Callable[[Message], None], wants: frozenset[type]
    ) -> ClientStream:
        """Begin a stream whose messages of types `wants` go to `take`.

        Its summary does in any case.

        Raises: ConnectionAbortedError once the server ends.
        """
        if self._closing:
            raise ConnectionAbortedError("the server ends")
        while name in self._streams:  # what it sent before it vanished is still processed
            name += "'"

        def deliver(message: Message) -> None:
            take(message)
            if isinstance(message, Summary):
                self._streams.pop(name, None)

        stream = ClientStream(name, form, deliver, wants, self._loop, self._wake)
        self._streams[name] = stream
        self.on_stream(stream.info, stream.ring)
        return stream

    # ---- the end ---------------------------------------------------------------------------------

    async def _finish_streams(self) -> None:
        await self._listeners.stop()
        for stream in list(self._streams.values()):
            stream.finish()

    async def _disconnect(self) -> None:
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=CLOSE_SECONDS)
        await self._listeners.close()


def _open_to_all(address: Address) -> str:
    return (
        f"{address} is open to the network: whoever reaches it may send sound and is told what is "
        "spoken in it, since the Wyoming protocol knows no passwords"
    )


def _keep_alive(connection: socket.socket) -> None:
    """Let the system notice that a client has vanished."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
