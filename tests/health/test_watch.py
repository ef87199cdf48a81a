"""Watching a run from another process: the same picture, no harm."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import LABELS, feed, lines, lose, run_info, terminal

from daemon.base.errors import UserError
from daemon.commands.top import Viewer, _choose
from daemon.health.client import ask
from daemon.health.server import HealthServer
from daemon.health.watch import Watch
from daemon.health.watcher import UNREAD_BYTES
from daemon.health.wire import decode, encode_message
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    RunInfo,
    Start,
    Status,
    StreamInfo,
    Summary,
    Verdict,
)
from daemon.output.base import OutputHealth
from daemon.output.dashboard import DashboardState
from daemon.output.dashboard.theme import theme_for
from daemon.output.dashboard.view import frame

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)

ANSWER = f'{{"healthy": true, "pid": {os.getpid()}}}\n'.encode()
CLIENT = StreamInfo("10.0.0.7:4711", 16000, 1, live=True, client=True)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


class Clock:
    """Time that passes only when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Daemon:
    """A watched run without the run: its messages are made up."""

    clock: Clock = field(default_factory=Clock)
    watched: list[bool] = field(default_factory=list)
    run: RunInfo = field(default_factory=lambda: run_info("mic"))

    def __post_init__(self) -> None:
        self.watch = Watch(self.watched.append, self.clock)
        self.watch.open(self.run)
        self.server = HealthServer(lambda: ANSWER, self.watch)
        self.server.start()
        self.started = self.clock.now
        self.state = DashboardState(self.run, self.started, datetime.now())

    def apply(self, message: Message, now: float) -> None:
        """A message at a moment, also to a dashboard of the daemon's own."""
        self.clock.now = max(self.clock.now, now)
        self.state.apply(message, self.clock.now)
        self.watch.publish(message)

    def tick(self, now: float) -> None:
        self.state.tick(now)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.server.stop()


def viewer_of(daemon: Daemon) -> Viewer:
    assert daemon.server.path is not None
    viewer = Viewer(daemon.server.path)
    viewer.start()
    return viewer


def wait_until(holds: object) -> None:
    deadline = time.monotonic() + 20
    assert callable(holds)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def picture(state: DashboardState, after: float) -> list[str]:
    """The frame `after` seconds from the state's start.

    The footer and times of day are left out, since the daemon's time is made up.
    """
    now = state.started + after
    state.tick(now)
    state.load = 0.05
    rows = lines(frame(state, 100, 30, now, theme_for(terminal(100, 30))))[:-1]
    return [re.sub(r"\d\d:\d\d:\d\d", "hh:mm:ss", row) for row in rows]


def seen(viewer: Viewer, daemon: Daemon) -> DashboardState:
    """The viewer's state once all that the daemon sent has arrived."""
    marker = time.monotonic()
    daemon.watch.send_vitals(load=marker, paused=False, outputs=[])
    wait_until(lambda: viewer.load == marker)
    assert viewer.display.state is not None
    return viewer.display.state


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# ---- the same picture ---------------------------------------------------------------------------


def play(daemon: Daemon) -> float:
    """Half a minute of speech, in the order of time; how long it is."""
    script: list[tuple[float, Message]] = []

    class Script:
        started, run = daemon.started, daemon.run

        def apply(self, message: Message, now: float) -> None:
            script.append((now, message))

        def tick(self, now: float) -> None: ...

    feed(Script(), 30.0)  # type: ignore[arg-type]
    lose(Script(), daemon.started + 29.0)  # type: ignore[arg-type]
    for now, message in sorted(script, key=lambda each: each[0]):
        daemon.apply(message, now)
    return 30.0


def test_who_watches_from_the_start_sees_what_the_daemon_shows(daemon: Daemon) -> None:
    viewer = viewer_of(daemon)
    assert daemon.watched == [True]
    seconds = play(daemon)
    state = seen(viewer, daemon)
    # Flashes are over by then; ages differ by what the way took.
    assert picture(state, seconds + 5) == picture(daemon.state, seconds + 5)
    viewer.quit()
    wait_until(lambda: daemon.watched == [True, False])


def test_who_comes_late_sees_the_same(daemon: Daemon) -> None:
    """Counts from the start, the last minute, the latest events.

    Several may watch at once.
    """
    seconds = play(daemon)
    viewers = [viewer_of(daemon) for _ in range(3)]
    for viewer in viewers:
        state = seen(viewer, daemon)
        assert picture(state, seconds + 5) == picture(daemon.state, seconds + 5)
        viewer.quit()
    wait_until(lambda: daemon.watched == [True, False])


def test_clients_streams_come_and_go(daemon: Daemon) -> None:
    viewer = viewer_of(daemon)
    now = daemon.started
    start = Start(CLIENT.name, "2026-11-01T00:00:00.000Z", "1", "m", LABELS, 1.0, 0.24, CLIENT)
    daemon.apply(start, now + 1)
    none = np.zeros(len(LABELS), np.float32)
    daemon.apply(Prediction(CLIENT.name, 0.0, 1.0, True, None, none, None), now + 2)
    state = seen(viewer, daemon)
    assert list(state.streams) == ["mic", CLIENT.name]
    late = seen(viewer_of(daemon), daemon)
    assert late.streams[CLIENT.name].windows == 1
    summary = Summary(CLIENT.name, 1.0, 1, 1, 0, (Verdict("up", 0.5),), 9, 0, 9, 0, None, None)
    daemon.apply(summary, now + 3)
    wait_until(lambda: state.streams[CLIENT.name].summary is not None)
    state.tick(state.started + 30)
    assert list(state.streams) == ["mic"] and state.windows == 1
    after = seen(viewer_of(daemon), daemon)
    assert list(after.streams) == ["mic"] and after.windows == 1


def test_pause_and_load_are_shown_and_nothing_can_be_changed(daemon: Daemon) -> None:
    viewer = viewer_of(daemon)
    output = OutputHealth("JSON lines", False, 3, 2, "off")
    daemon.watch.send_vitals(load=0.25, paused=True, outputs=[asdict(output)])
    wait_until(lambda: viewer.load == 0.25)
    assert viewer.paused and viewer.outputs == (output,)
    state = viewer.display.state
    assert state is not None
    viewer.display._obey("space")
    viewer.display._picture((100, 30), time.monotonic(), theme_for(terminal()))
    assert state.paused and state.outputs == (output,)
    screen = "\n".join(
        lines(frame(state, 100, 30, time.monotonic(), theme_for(terminal()), pausable=False))
    )
    assert "paused" in screen and "space" not in screen and "q quit" in screen


def test_the_end_of_the_daemon_ends_the_view(daemon: Daemon) -> None:
    viewer = viewer_of(daemon)
    daemon.server.stop()
    assert viewer.stop.wait(20) and viewer.ended and not viewer.failure


# ---- no harm ------------------------------------------------------------------------------------


def test_a_watcher_that_does_not_read_is_dropped_and_comes_again(daemon: Daemon) -> None:
    assert daemon.server.path is not None
    lazy = socket.socket(socket.AF_UNIX)
    lazy.connect(str(daemon.server.path))
    lazy.sendall(b"watch\n")
    wait_until(lambda: daemon.watched == [True])
    level = Level("mic", -20.0, -10.0, True, 1.0)
    sent = 0
    while daemon.watched == [True] and sent < 200_000:
        daemon.watch.publish(level)
        sent += 1
        if sent % 500 == 0:
            time.sleep(0.01)
    assert daemon.watched == [True, False], sent
    assert sent * 60 < 20 * UNREAD_BYTES
    lazy.close()
    assert ask(daemon.server.path) is not None
    assert viewer_of(daemon).display.state is not None


def test_what_is_no_request_is_no_harm(daemon: Daemon) -> None:
    path = daemon.server.path
    assert path is not None
    rng = np.random.default_rng(0)
    threads = len(threading.enumerate())
    descriptors = open_descriptors()
    words = [b"watch", b"watch\r\n", b"\n", b"WATCH\n", b"watch\nwatch\n", b"watch \n"]
    for number in range(2000):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            payload = bytes(rng.integers(0, 256, int(rng.integers(0, 300)), np.uint8))
            cut = words[number % len(words)][: int(rng.integers(0, 8))]
            try:
                client.sendall(cut + payload if number % 2 else payload + cut)
                if number % 3 == 0:
                    client.shutdown(socket.SHUT_WR)
                if number % 5 == 0:
                    client.settimeout(5)
                    client.recv(1 << 16)
            except OSError:
                continue
    report = ask(path)
    assert report is not None and report["healthy"] is True
    wait_until(lambda: open_descriptors() <= descriptors + 2)
    assert len(threading.enumerate()) <= threads


# ---- which daemon, and lines --------------------------------------------------------------------


def test_the_daemon_is_found_or_has_to_be_named(daemon: Daemon) -> None:
    assert _choose(None) == (daemon.server.path, os.getpid())
    assert _choose(os.getpid()) == (daemon.server.path, os.getpid())
    with pytest.raises(UserError, match="no intentd runs as process 1 "):
        _choose(1)
    other = HealthServer(lambda: b'{"healthy": true, "pid": 1}\n')
    other.start()
    with pytest.raises(UserError, match=r"as processes .*; choose one with --pid"):
        _choose(None)
    assert _choose(1) == (other.path, 1)
    other.stop()
    daemon.server.stop()
    with pytest.raises(UserError, match="no intentd runs for this user"):
        _choose(None)


@given(st.text(st.characters(categories=None), max_size=8), st.floats(), st.floats(width=32))
def test_messages_survive_the_way(name: str, number: float, score: float) -> None:
    values = np.full(3, score, np.float32)
    info = StreamInfo(name, 8000, 2, live=True, client=True)
    for message in (
        Start(name, name, name, name, (name, name), number, number, info),
        Prediction(name, number, number, False, values, values, number),
        Prediction(name, number, number, True, None, values, None),
        Event(name, name, number, number, number, number, name),
        Gap(name, number, number, 3, name),
        Level(name, number, number, True, number),
        Status(None, name, "warning"),
        Summary(name, number, 3, 2, 1, (Verdict(name, number),), 1, 2, 3, 4, None, number),
    ):
        kind, got = decode(encode_message(message, 1.5))
        assert got["at"] == 1.5 and type(got["message"]) is type(message)
        assert encode_message(got["message"], 1.5) == encode_message(message, 1.5), kind


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"1", b"{}", b'{"kind":"level"}', b'{"kind":"level","message":{"x":1}}',
     b'{"kind":"run","run":{}}', b"\xff", b'{"kind":"summary","message":{"top":3}}'],
)  # fmt: skip
def test_a_line_of_another_version_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_memory_is_bounded() -> None:
    watch = Watch()
    watch.open(replace(run_info(), serves=True))
    none = np.zeros(3, np.float32)
    for number in range(20_000):
        name = f"10.0.0.7:{number}"
        info = replace(CLIENT, name=name)
        watch.publish(Start(name, "", "", "", (), 1.0, 0.24, info))
        watch.publish(Prediction(name, 0.0, 1.0, True, None, none, None))
        watch.publish(Gap(name, 0.0, 1.0, 3, "paused"))
        watch.publish(Summary(name, 1.0, 1, 1, 0, (), 9, 0, 9, 0, None, None))
    lines = watch.subscribe(lambda _: None)
    assert len(lines) < 9000
    assert decode(lines[-1])[1]["gone"]["windows"] == 20_000
