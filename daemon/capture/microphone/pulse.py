"""Queries of the sound server, PulseAudio or PipeWire in its place.

PortAudio sees one device, `pulse`, `pipewire` or `default`, whatever microphones exist; and when a
source goes away the server moves a recording to another one and reports nothing. So sources are
listed, chosen and watched through the server itself. Needs the package pulsectl; without it, or
without a server, every query gives None.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from daemon.base.errors import UserError
from daemon.capture.wake import Wake

_T = TypeVar("_T")

NO_ANSWER = "the sound server does not answer: restart it"
_PROCESS = "application.process.id"
_TIMEOUT = 2.0
_INTERVAL = 0.4
_LOOKS = 5
_LONG_INTERVAL = 5.0
"""Seconds after which the server is asked again although it reported no change."""


@dataclass(frozen=True, slots=True)
class PulseSource:
    """A source as the server knows it."""

    index: int
    name: str
    description: str
    rate: int
    channel_map: tuple[int, ...]
    """Where each channel lies, as libpulse numbers positions."""
    is_monitor: bool
    """It records what an output plays."""
    is_default: bool


_asking = threading.Lock()


def list_sources() -> list[PulseSource] | None:
    """The server's sources; None without pulsectl or a server.

    Raises: UserError if the server does not answer within two seconds.
    """
    # pulsectl's own timeout is no way out: it waits for all of it even when all goes well, and
    # has none for queries. While one query hangs in a frozen server, no other is made.
    if not _asking.acquire(blocking=False):
        raise UserError(NO_ANSWER)
    answer: list[list[PulseSource] | None] = []

    def ask() -> None:
        try:
            answer.append(_list_sources())
        finally:
            _asking.release()

    thread = threading.Thread(target=ask, name="list-sources", daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    if thread.is_alive():
        raise UserError(NO_ANSWER)
    return answer[0] if answer else None


def _list_sources() -> list[PulseSource] | None:
    with _connected() as server:
        if server is None:
            return None
        return _answer(lambda: _sources_of(server))


def _sources_of(server: Any) -> list[PulseSource]:
    default = server.server_info().default_source_name
    return [
        PulseSource(
            index=s.index,
            name=s.name,
            description=s.description or s.name,
            rate=s.sample_spec.rate,
            channel_map=tuple(s.channel_list_raw),
            is_monitor=s.monitor_of_sink_name is not None,
            is_default=s.name == default,
        )
        for s in server.source_list()
    ]


def _recorded_source_of(server: Any) -> str | None:
    """Name of the source that this process's newest recording is connected to.

    None if that is unknown. Hangs for as long as the server is frozen.
    """
    names: dict[int, str] = {s.index: s.name for s in server.source_list()}
    own = str(os.getpid())
    # PipeWire's ALSA plugin gives the process to its client alone.
    clients = {c.index for c in server.client_list() if c.proplist.get(_PROCESS) == own}
    ours = [
        output
        for output in server.source_output_list()
        if output.proplist.get(_PROCESS) == own or output.client in clients
    ]
    return names.get(max(ours, key=lambda output: output.index).source) if ours else None


def socket_states() -> list[tuple[int, int] | None]:
    """Inode and time of change of each server's socket; None without one.

    They change when the server goes or comes.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/"))
    pulse = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    if not pulse.startswith("/"):
        pulse = str(Path(os.environ.get("PULSE_RUNTIME_PATH") or runtime / "pulse") / "native")
    pipewire = Path(os.environ.get("PIPEWIRE_RUNTIME_DIR") or runtime) / "pipewire-0"
    return [_state(Path(pulse)), _state(pipewire)]


def _state(socket: Path) -> tuple[int, int] | None:
    try:
        status = socket.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


class MoveWatch:
    """Notices when the server moves a recording to another source.

    Within half a second.

    The server reports every change; only then, and for a while after the recording was opened, is
    it asked. In a thread of its own, since queries hang for as long as a server is frozen.
    """

    def __init__(self, expected: str, wake: Wake | None = None) -> None:
        """`wake` is set when the recording has moved."""
        self.failure: Exception | None = None
        """A programming error in the thread, which has then ended."""
        self._expected = expected
        self._wake = wake
        self._generation = 0
        self._moved: tuple[int, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="move-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: the thread may hang with its server."""
        self._stop.set()

    def rearm(self, expected: str) -> None:
        """The recording was reopened on this source; forget earlier moves."""
        self._expected = expected
        self._generation += 1

    @property
    def moved_to(self) -> str | None:
        """Source that is recorded instead; None without a move or if unknown."""
        moved = self._moved
        return moved[1] if moved is not None and moved[0] == self._generation else None

    def _run(self) -> None:
        try:
            while not self._stop.wait(_INTERVAL):
                with _connected() as server:
                    if server is not None:
                        _answer(lambda: self._follow(server))
        except Exception as error:
            self.failure = error

    def _follow(self, server: Any) -> None:
        """Until the server goes away, or `stop`."""
        import pulsectl

        def interrupt(_event: object) -> None:
            raise pulsectl.PulseLoopStop

        server.event_mask_set("source", "source_output", "server")
        server.event_callback_set(interrupt)
        seen, looks = -1, 0
        while not self._stop.is_set():
            generation, expected = self._generation, self._expected
            recorded = _recorded_source_of(server)
            if recorded is not None and recorded != expected:
                self._moved = (generation, recorded)
                if self._wake is not None:
                    self._wake.set()
            # A recording that has just been opened may not be known to the server yet.
            seen, looks = generation, looks + 1 if generation == seen else 0
            server.event_listen(_INTERVAL if looks < _LOOKS else _LONG_INTERVAL)


@contextmanager
def _connected() -> Iterator[Any]:
    """A connection for the block's duration; None without pulsectl or server."""
    try:
        import pulsectl
    except (ImportError, OSError):
        yield None
        return
    server = pulsectl.Pulse("intentd", connect=False)
    try:
        server.connect(autospawn=False)
    except pulsectl.PulseError:
        server.close()
        yield None
        return
    try:
        yield server
    finally:
        server.close()


def _answer(query: Callable[[], _T]) -> _T | None:
    """The query's result; None if the server went away meanwhile."""
    import pulsectl

    try:
        return query()
    except (pulsectl.PulseError, pulsectl.PulseDisconnected):
        return None
