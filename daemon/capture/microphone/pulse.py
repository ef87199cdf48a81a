"""Asking the sound server (PulseAudio, or PipeWire in its place) what PortAudio cannot say.

PortAudio sees one device, `pulse` or `default`, whatever microphones there are; and when a
source goes away the server moves a recording to another one without a word. So sources are
listed, chosen and watched through the server itself. Needs the package pulsectl; without it, or
without a server, everything here says None.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from daemon.capture.wake import Wake

_T = TypeVar("_T")

_TIMEOUT = 1.0
_INTERVAL = 0.4
_LOOKS = 5
_LONG_INTERVAL = 5.0
"""Seconds after which the server is asked again although it told of no change."""


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
    """It plays back what goes to a loudspeaker."""
    is_default: bool


_asking = threading.Lock()


def list_sources() -> list[PulseSource] | None:
    """The server's sources; None if it cannot be asked (no pulsectl, no server, no answer
    within a second)."""
    # pulsectl's own timeout is no way out: it waits for all of it even when all goes well, and
    # knows none for questions. While one question hangs in a frozen server, no other is asked.
    if not _asking.acquire(blocking=False):
        return None
    answer: list[list[PulseSource] | None] = []

    def ask() -> None:
        with _asking_ends():
            answer.append(_list_sources())

    thread = threading.Thread(target=ask, name="list-sources", daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    return answer[0] if answer else None


@contextmanager
def _asking_ends() -> Iterator[None]:
    try:
        yield
    finally:
        _asking.release()


def _list_sources() -> list[PulseSource] | None:
    with _connected() as server:
        if server is None:
            return None
        return _told(lambda: _sources_of(server))


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
    """The name of the source that this process's newest recording hears now; None if nobody can
    tell. Hangs for as long as the server is frozen."""
    names: dict[int, str] = {s.index: s.name for s in server.source_list()}
    own = str(os.getpid())
    ours = [
        o for o in server.source_output_list() if o.proplist.get("application.process.id") == own
    ]
    return names.get(max(ours, key=lambda o: o.index).source) if ours else None


def socket_state() -> tuple[int, int] | None:
    """What changes when the server goes or comes: its socket's inode and time; None without."""
    place = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    if not place.startswith("/"):
        runtime = os.environ.get("PULSE_RUNTIME_PATH")
        folder = (
            Path(runtime) if runtime else Path(os.environ.get("XDG_RUNTIME_DIR", "/")) / "pulse"
        )
        place = str(folder / "native")
    try:
        status = Path(place).stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


class MoveWatch:
    """Notices at once that a recording hears another source than it should.

    The server tells of every change; only then, and for a while after the recording was opened, is
    it asked. A thread of its own, since a frozen server lets questions hang for as long as it is
    frozen.
    """

    def __init__(self, expected: str, alarm: Wake | None = None) -> None:
        """`alarm` is set when the recording has moved."""
        self.failure: Exception | None = None
        """An error of ours in the thread, which has ended then."""
        self._expected = expected
        self._alarm = alarm
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
        """The recording was opened anew on this source; forget what was seen before."""
        self._expected = expected
        self._generation += 1

    @property
    def moved_to(self) -> str | None:
        """The source that is heard instead; None if all is well, or nobody can tell."""
        moved = self._moved
        return moved[1] if moved is not None and moved[0] == self._generation else None

    def _run(self) -> None:
        try:
            while not self._stop.wait(_INTERVAL):
                with _connected() as server:
                    if server is not None:
                        _told(lambda: self._follow(server))
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
            heard = _recorded_source_of(server)
            if heard is not None and heard != expected:
                self._moved = (generation, heard)
                if self._alarm is not None:
                    self._alarm.set()
            # A recording that has just been opened may not be known to the server yet.
            seen, looks = generation, looks + 1 if generation == seen else 0
            server.event_listen(_INTERVAL if looks < _LOOKS else _LONG_INTERVAL)


@contextmanager
def _connected() -> Iterator[Any]:
    """A connection of a moment; None if there is none to be had."""
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


def _told(question: Callable[[], _T]) -> _T | None:
    """The answer, or None if the server went away while it was asked."""
    import pulsectl

    try:
        return question()
    except (pulsectl.PulseError, pulsectl.PulseDisconnected):
        return None
