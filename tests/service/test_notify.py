"""What a service manager is told, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.service.notify import Notifier, StartupExtender, SystemdNotifier

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)


class Listening:
    """A service manager's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """The datagrams that have come."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}


def test_a_run_is_notified_from_its_start_to_its_end(manager: Listening, tmp_path: Path) -> None:
    samples = [0]
    observer = SystemdNotifier(
        Notifier(environ(tmp_path)),
        lambda: samples[0],
        lambda: False,
        lambda: "up 3 s",
        status_every=5.0,
    )
    observer.started()
    observer.reloading()  # too early to be told
    observer.reloaded()
    observer.tick(99.0)
    assert manager.heard() == ["STATUS=up 3 s"]  # started, but nothing was heard yet
    samples[0] = 320
    observer.tick(100.0)
    observer.tick(103.9)
    observer.tick(104.0)
    observer.reloading()
    observer.reloaded()
    observer.stopping()
    heard = manager.heard()
    assert heard[0] == "READY=1\nSTATUS=listening"
    assert heard[1] == "STATUS=up 3 s"
    assert heard[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[3:] == ["READY=1", "STOPPING=1\nSTATUS=processing the last sound"]


def test_pings_stop_with_the_sound_and_come_back_with_it(
    manager: Listening, tmp_path: Path
) -> None:
    samples, searching = [0], [False]
    notifier = Notifier(environ(tmp_path, WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid())))
    assert notifier.watchdog == 2.0
    observer = SystemdNotifier(
        notifier, lambda: samples[0], lambda: searching[0], lambda: "", status_every=1e9
    )
    observer.started()

    def pings(begin: int, seconds: int, *, sound: bool) -> int:
        heard = []
        for tick in range(begin * 10, (begin + seconds) * 10):
            samples[0] += 1600 * sound
            observer.tick(tick / 10)
            heard += manager.heard()
        return heard.count("WATCHDOG=1")

    assert 18 <= pings(10, 10, sound=True) <= 21
    assert pings(20, 10, sound=False) <= 1  # for what was heard since the ping before
    assert pings(30, 10, sound=False) == 0
    assert 18 <= pings(40, 10, sound=True) <= 21
    # A microphone that is away does not come back by a restart.
    searching[0] = True
    assert 18 <= pings(50, 10, sound=False) <= 21
    searching[0] = False
    assert pings(60, 10, sound=False) == 0


def test_a_microphone_that_is_away_is_reported_and_given_time(
    manager: Listening, tmp_path: Path
) -> None:
    samples, searching = [0], [True]
    observer = SystemdNotifier(
        Notifier(environ(tmp_path)), lambda: samples[0], lambda: searching[0], lambda: "up 3 s"
    )
    for tick in range(101):
        observer.tick(50 + tick / 10)
    heard = manager.heard()
    assert heard.count("EXTEND_TIMEOUT_USEC=60000000") == 2
    assert heard.count("STATUS=waiting for the microphone, up 3 s") == 2
    searching[0], samples[0] = False, 320
    observer.tick(60.1)
    assert manager.heard() == ["READY=1\nSTATUS=listening", "STATUS=up 3 s"]
    searching[0] = True
    observer.tick(60.2)  # said at once, and no extension for a service that has started
    assert manager.heard() == ["STATUS=waiting for the microphone, up 3 s"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "me"},
    ],
)
def test_no_ping_is_sent_that_nobody_asked_us_for(
    manager: Listening, tmp_path: Path, variables: dict[str, str]
) -> None:
    notifier = Notifier(environ(tmp_path, **variables))
    assert notifier.watchdog is None
    samples = iter(range(1000))
    observer = SystemdNotifier(notifier, lambda: next(samples), lambda: False, lambda: "")
    observer.started()
    for tick in range(100):
        observer.tick(float(tick))
        assert not any("WATCHDOG" in datagram for datagram in manager.heard())


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "x" * 300):
        Notifier({"NOTIFY_SOCKET": address}).send("READY=1")
    assert not Notifier({}).wanted


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's abstract sockets")
def test_an_abstract_socket_is_reached() -> None:
    name = f"intentd-test-{os.getpid()}"
    listening = Listening(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).send("READY=1", "STATUS=ünïcode \udcff")
    assert listening.heard() == ["READY=1\nSTATUS=ünïcode ?"]
    listening.socket.close()


def test_waiting_for_a_microphone_asks_for_patience(manager: Listening, tmp_path: Path) -> None:
    now = [0.0]
    patience = StartupExtender(Notifier(environ(tmp_path)), clock=lambda: now[0])
    heard = []
    for _ in range(299):
        assert patience.cancelled() is False
        now[0] += 0.1
        heard += manager.heard()
    assert len(heard) == 3
    assert set(heard) == {"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting for the microphone"}
