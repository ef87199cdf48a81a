"""A daemon's problems, its status socket, and `intentd status`."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.base.errors import UserError
from daemon.cli import run
from daemon.health import places
from daemon.health.client import ask, running
from daemon.health.server import HealthServer
from daemon.health.snapshot import Health, StreamHealth, duration, text
from daemon.output.base import OutputHealth

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)

STREAM = StreamHealth(
    name="USB mic", rate=48000, live=True, going=True, seconds=65.2, windows=270, gated=200,
    events=3, samples_captured=3_129_600, samples_classified=800_000, samples_gated=2_329_600,
    samples_lost=0, waiting=0.01, last_audio_age=0.02, latency_p50_ms=12.3, latency_p99_ms=45.6,
)  # fmt: skip
HEALTH = Health(
    pid=4711, version="0.1.0", uptime=65.5, model="commands", backend="torch", paused=False,
    load=0.05, lag=0.02, lag_limit=0.5, busy=None, streams=(STREAM,),
)  # fmt: skip


def having(**changes: object) -> Health:
    """A health whose only stream has other values."""
    return replace(HEALTH, streams=(replace(STREAM, **changes),))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / "intentd"


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], HealthServer]]:
    servers: list[HealthServer] = []

    def start(answer: bytes) -> HealthServer:
        server = HealthServer(lambda: answer)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


# ---- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        (having(last_audio_age=2.1), "USB mic: no sound for 2.1 s"),
        (having(last_audio_age=None), "USB mic: no sound for 65.5 s"),
        (replace(HEALTH, lag=0.6), "the model is 0.6 s behind the sound"),
        (replace(HEALTH, switched_off=("x: switched off, no room",)), "x: switched off, no room"),
        (replace(HEALTH, busy=2.5), "the model has been at one batch for 2.5 s"),
    ],
)
def test_what_is_wrong_is_reported(health: Health, problem: str) -> None:
    assert health.problems == (problem,)
    report = json.loads(health.to_json())
    assert report["healthy"] is False and report["problems"] == [problem]
    assert text(report).startswith("not healthy, up 1 min 05 s, process 4711")
    assert problem in text(report)


@pytest.mark.parametrize(
    "health",
    [
        HEALTH,
        having(last_audio_age=1.9),
        having(last_audio_age=60.0, going=False),
        having(last_audio_age=60.0, live=False),
        replace(having(last_audio_age=60.0), paused=True),
        replace(HEALTH, busy=0.4, load=None),
    ],
)
def test_what_is_not_wrong_is_healthy(health: Health) -> None:
    assert health.problems == ()
    assert text(json.loads(health.to_json())).startswith("healthy, ")


def test_the_report_is_strict_json_on_one_line() -> None:
    name = "mic \x1b[31m\udcff\nname"
    health = having(name=name, latency_p99_ms=float("nan"))
    raw = health.to_json()
    assert raw.count(b"\n") == 1 and raw.endswith(b"\n")
    report = json.loads(raw.decode("utf-8"))
    assert report["streams"][0]["latency_p99_ms"] is None
    shown = text(report)
    assert "\x1b" not in shown and "\\x1b[31m" in shown and len(shown.splitlines()) == 6
    for part in ("48000 Hz", "270 windows (200 without speech), 3 events", "p50 12.3 ms"):
        assert part in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.9, "0 s"), (59, "59 s"), (65, "1 min 05 s"), (7620, "2 h 07 min"), (356400, "4 d 03 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ---- the socket ---------------------------------------------------------------------------------


def test_only_the_owner_gets_an_answer(
    serve: Callable[[bytes], HealthServer], runtime: Path
) -> None:
    server = serve(HEALTH.to_json())
    assert server.path == runtime / f"{os.getpid()}.sock"
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    report = ask(server.path)
    assert report is not None and report["pid"] == 4711
    server.stop()
    server.stop()
    assert list(runtime.iterdir()) == []


def test_a_stale_socket_is_replaced(serve: Callable[[bytes], HealthServer], runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    for name in (f"{os.getpid()}.sock", "99999.sock"):
        with socket.socket(socket.AF_UNIX) as dead:  # as kill -9 leaves it
            dead.bind(str(runtime / name))
            dead.listen()
    (runtime / "notes.txt").write_text("not ours")
    server = serve(HEALTH.to_json())
    assert server.path == runtime / f"{os.getpid()}.sock"
    assert ask(server.path) is not None
    assert {entry.name for entry in runtime.iterdir()} == {server.path.name, "notes.txt"}


def test_two_daemons_are_told_apart(
    serve: Callable[[bytes], HealthServer], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(HEALTH.to_json())
    serve(replace(having(last_audio_age=9.0), pid=4712).to_json())
    assert len({path for path, _ in running()}) == 2
    assert run(["status", "--json"]) == 1
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(r["pid"], r["healthy"]) for r in reports} == {(4711, True), (4712, False)}
    assert run(["status", "--pid", "4711"]) == 0
    assert "process 4711" in capsys.readouterr().out
    assert run(["status", "--pid", "4713"]) == 2


def test_no_daemon_is_status_2(capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    assert run(["status"]) == 2
    assert "no intentd runs" in capsys.readouterr().err
    assert not runtime.exists()  # who only asks leaves nothing behind


def test_clients_that_do_not_read_hold_nobody_up(
    serve: Callable[[bytes], HealthServer],
) -> None:
    server = serve(b'{"healthy": true, "problems": [], "filler": "' + b"x" * 3_000_000 + b'"}\n')
    assert server.path is not None
    lazy = socket.socket(socket.AF_UNIX)
    lazy.connect(str(server.path))
    report = ask(server.path, timeout=5.0)
    assert report is not None and len(report["filler"]) == 3_000_000
    lazy.close()
    hasty = socket.socket(socket.AF_UNIX)
    hasty.connect(str(server.path))
    hasty.close()
    assert ask(server.path) is not None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [(b"hello\n", "gives no report"), (b"[]\n", "gives no report"), (None, "does not answer")],
)
def test_a_daemon_that_answers_nonsense_or_nothing_is_not_healthy(
    answer: bytes | None,
    problem: str,
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtime.mkdir(mode=0o700)
    monkeypatch.setattr("daemon.health.client.ask.__defaults__", (0.3,))
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(runtime / "77.sock"))
        odd.listen()

        clients = []

        def serve_once() -> None:
            client, _ = odd.accept()
            clients.append(client)
            if answer is not None:
                client.sendall(answer)
                client.close()

        threading.Thread(target=serve_once, daemon=True).start()
        assert run(["status"]) == 1
    said = capsys.readouterr().out
    assert "process 77" in said and problem in said


def test_a_folder_of_others_is_not_trusted(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o777)
    with pytest.raises(UserError, match="chmod 700"):
        HealthServer(lambda: b"").start()
    assert places.sockets() == []
    runtime.rmdir()
    runtime.symlink_to("/tmp")
    with pytest.raises(UserError):
        HealthServer(lambda: b"").start()
    assert places.sockets() == []


def test_a_name_too_long_for_a_socket_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    with pytest.raises(UserError, match="XDG_RUNTIME_DIR"):
        HealthServer(lambda: b"").start()


def test_the_state_of_outputs_is_shown() -> None:
    outputs = (
        OutputHealth("MQTT to broker:1883", True, 0, 0, "connected as intentd/kitchen, 3 events"),
        OutputHealth("commands", True, 2, 1, "7 ended, 1 of them failed, 0 running"),
        OutputHealth("plain lines", True, 0, 0, ""),
    )
    report = json.loads(replace(HEALTH, outputs=outputs).to_json())
    assert [output["lost"] for output in report["outputs"]] == [0, 2, 0]
    assert text(report).splitlines()[-2:] == [
        "  MQTT to broker:1883: connected as intentd/kitchen, 3 events",
        "  commands: 7 ended, 1 of them failed, 0 running, 1 waiting, 2 lost",
    ]
