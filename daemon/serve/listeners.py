"""Addresses at which clients connect, exchanged while the server runs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from daemon.base.errors import UserError
from daemon.base.loop_thread import LoopThread
from daemon.serve.address import Address, Listener, listen, parse_address

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 5.0
"""What the loop gets to do something; with a busy processor it takes longer than it should."""


class Closes(Protocol):
    """A server of asyncio or of websockets."""

    def close(self) -> None: ...


Serve = Callable[[socket.socket], Awaitable[Closes]]
"""Serves one socket that listens."""


class Listeners:
    """Listens at addresses.

    server_of: called in the loop with each new listener; what serves its sockets.
    left: called in the loop with an address that is listened at no more.
    say: called in the loop with a sentence.
    """

    def __init__(
        self,
        loop: LoopThread,
        *,
        server_of: Callable[[Listener], Serve],
        left: Callable[[Address], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._server_of = server_of
        self._left = left
        self._say = say
        self._open: dict[Address, tuple[Listener, list[Closes]]] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(str(listener.address) for listener, _ in self._open.values())

    def exchange(self, wanted: Sequence[Address]) -> None:
        """Listen at `wanted` and nowhere else; addresses that stay notice nothing.

        Raises `UserError` if one can't be listened at, and everything stays as it was.
        """
        news = {address: address for address in wanted if address not in self._open}
        leaving = {each: self._open[each][0].address for each in self._open if each not in wanted}
        ports = {address.port for address in news if address.port}
        # 0.0.0.0 can't have the port before 127.0.0.1 has let it go.
        blocking = {each: place for each, place in leaving.items() if place.port in ports}
        if news:
            self._loop.start()
        if blocking:
            self._wait_for(self._close(blocking))
        try:
            self._listen(news)
        except UserError:
            self._listen(blocking)
            raise
        if others := leaving.keys() - blocking.keys():
            self._wait_for(self._close(others))

    async def stop(self) -> None:
        """Take no more clients; those that are connected stay."""
        for _, servers in self._open.values():
            for server in servers:
                server.close()

    async def close(self) -> None:
        """Listen no more."""
        await self.stop()
        await asyncio.sleep(0)
        for listener, _ in self._open.values():
            listener.close()

    def _listen(self, places: Mapping[Address, Address]) -> None:
        """Listen at all of the values or at none.

        Their keys are the settings' addresses.

        Raises: UserError.
        """
        opened: dict[Address, Listener] = {}
        try:
            for asked, place in places.items():
                opened[asked] = listen(place)
        except UserError:
            for listener in opened.values():
                listener.close()
            raise
        if opened:
            self._wait_for(self._serve(opened))

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the loop do something. Raises: UserError if it does not answer."""
        try:
            self._loop.run(work, ANSWER_SECONDS)
        except TimeoutError:
            raise UserError(
                "the thread that listens to clients does not answer; restart intentd", status=1
            ) from None

    async def _serve(self, opened: Mapping[Address, Listener]) -> None:
        for asked, listener in opened.items():
            self._say(f"listening to clients at {listener.address}")
            serve = self._server_of(listener)
            servers = [await serve(each) for each in listener.sockets]
            self._open[asked] = (listener, servers)
            log.info("listening to clients at %s", listener.address)

    async def _close(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            listener, servers = self._open.pop(address)
            for server in servers:
                server.close()
            await asyncio.sleep(
                0
            )  # websockets lets the loop forget the socket in a task of its own
            listener.close()
            self._left(listener.address)
            self._say(f"no longer listening to clients at {listener.address}")


def parsed(texts: Sequence[str]) -> list[Address]:
    """Addresses of the settings.

    Raises: UserError for what is none, and where a package is missing.
    """
    addresses = list(dict.fromkeys(parse_address(text) for text in texts))
    if addresses:
        try:
            import websockets  # noqa: F401
            import wyoming  # noqa: F401
        except ImportError:
            raise UserError(
                "listening to clients needs packages that are not installed; "
                "pip install 'intentd[serve]'"
            ) from None
    return addresses
