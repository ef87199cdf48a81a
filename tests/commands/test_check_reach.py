"""What `intentd check` says of outputs and addresses, with real servers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.broker import MOSQUITTO, Mosquitto, Subscriber
from support.run_controls import free_port

from daemon.base.errors import UserError
from daemon.base.trial import Outcome
from daemon.commands.check_reach import reach_trials
from daemon.config import Settings
from daemon.health import client


def tried(**sections: Any) -> dict[str, Outcome]:
    """What each trial finds; a UserError is one that failed."""
    found: dict[str, Outcome] = {}
    for name, trial in reach_trials(Settings.model_validate(sections)):
        try:
            found[name] = trial()
        except UserError as error:
            found[name] = (False, str(error), "")
    return found


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_what_is_switched_off_is_not_tried() -> None:
    assert tried() == {}


def test_programs_are_found_and_not_run(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ntouch ran\n")
    action = {"run": [str(script)]}
    assert not (found := tried(on={"left": action})["commands"])[0]
    assert "that file is not executable; chmod +x" in found[1]
    script.chmod(0o755)
    lines = {"run": ["nowhere | nothing"], "shell": True}
    ok, text, fix = tried(on={"left": action, "*": lines})["commands"]
    assert (ok, fix) == (True, "")
    assert text == f"left: {script}, *: a line for the shell, not tried"
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()
    ok, text, _ = tried(on={"left": {"run": ["no-such-program"]}})["commands"]
    assert not ok and "there is no such program" in text


def test_addresses_are_free_or_taken_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, port, taken = tmp_path / "socket", free_port(), socket.create_server(("127.0.0.1", 0))
    busy = f"127.0.0.1:{taken.getsockname()[1]}"
    listen = [f"unix://{path}", f"tcp://127.0.0.1:{port}"]
    found = tried(output={"metrics": f"127.0.0.1:{port}"}, serve={"listen": listen})
    assert found["metrics"] == (True, f"127.0.0.1:{port} is free", "")
    assert found["clients"] == (True, f"{listen[0]} is free; {listen[1]} is free", "")
    assert not path.exists()
    found = tried(output={"metrics": busy}, serve={"listen": [f"tcp://{busy}"]})
    for name in ("metrics", "clients"):
        assert not found[name][0] and "in use" in found[name][1]
    report = {"pid": 7, "listening": [f"tcp://{busy}"], "outputs": [{"name": f"metrics at {busy}"}]}
    monkeypatch.setattr("daemon.commands.check_reach.running", lambda: [(tmp_path, report)])
    assert client.running() == []
    found = tried(output={"metrics": busy}, serve={"listen": [f"tcp://{busy}"]})
    for name in ("metrics", "clients"):
        assert found[name][0] and found[name][1].startswith("process 7, which is intentd, listens")


@pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto")
def test_a_broker_is_connected_to_and_nothing_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "me", "hush"],
        check=True, capture_output=True,
    )  # fmt: skip
    passwords.chmod(0o600)
    broker = Mosquitto(tmp_path, free_port(), "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    subscriber = Subscriber(broker.port, user="me", password="hush")
    output = {"mqtt": f"127.0.0.1:{broker.port}"}
    try:
        ok, text, fix = tried(output=output)["MQTT"]
        assert not ok and "not authorized" in text.lower() and "mqtt.user" in fix
        monkeypatch.setenv("INTENTD_MQTT_PASSWORD", "wrong")
        ok, text, fix = tried(output=output, mqtt={"user": "me"})["MQTT"]
        assert not ok and "not authorized" in text.lower() and "wrong" not in text + fix
        monkeypatch.setenv("INTENTD_MQTT_PASSWORD", "hush")
        found = tried(output=output, mqtt={"user": "me"})["MQTT"]
        assert found == (True, f"127.0.0.1:{broker.port} accepts a connection from me", "")
        assert subscriber.got == []
    finally:
        subscriber.stop()
        broker.kill()
    ok, text, _ = tried(output=output, mqtt={"user": "me"})["MQTT"]
    assert not ok and "refused" in text


def test_a_url_is_asked_for_its_options_alone(
    asked: tuple[str, list[Any], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests, answers = asked
    monkeypatch.setenv("INTENTD_WEBHOOK_TOKEN", "t0ken")
    monkeypatch.setenv("INTENTD_WEBHOOK_SECRET", "s3cret")
    shown = url.removesuffix("/hook?key=7")
    for status in (204, 405, 501):
        answers[:] = [status]
        assert tried(output={"webhook": url})["webhook"] == (True, f"{shown} can be reached", "")
    answers[:] = [404]
    ok, _, note = tried(output={"webhook": url})["webhook"]
    assert ok and "is the path of output.webhook right?" in note
    assert len(requests) == 4
    for method, path, headers in requests:
        assert (method, path) == ("OPTIONS", "/hook?key=7")
        assert "t0ken" not in str(headers) and "webhook-id" not in headers
    ok, text, _ = tried(output={"webhook": f"http://127.0.0.1:{free_port()}/"})["webhook"]
    assert not ok and "refused" in text
    monkeypatch.setenv("INTENTD_WEBHOOK_SECRET", "whsec_?")
    ok, text, _ = tried(output={"webhook": url})["webhook"]
    assert not ok and "base64" in text and "whsec_?" not in text


@pytest.fixture
def asked() -> Iterator[tuple[str, list[Any], list[int]]]:
    """A URL, the requests that come there, and the status of the answers."""
    requests: list[Any] = []
    answers = [204]

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if self.parse_request():
                requests.append((self.command, self.path, dict(self.headers)))
                self.send_response(answers[0])
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook?key=7", requests, answers
    server.shutdown()
    server.server_close()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("paho.mqtt.client", "urllib3", "prometheus_client", "wyoming"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("daemon.output.")]:
        if name.split(".")[2] in ("mqtt", "webhook", "metrics"):
            monkeypatch.delitem(sys.modules, name)
    found = tried(
        output={"mqtt": "host:1883", "webhook": "http://host/", "metrics": "127.0.0.1:1"},
        serve={"listen": ["tcp://127.0.0.1:0"]},
    )
    for name, extra in (("MQTT", "mqtt"), ("webhook", "webhook"), ("metrics", "metrics"),
                        ("clients", "serve")):  # fmt: skip
        assert not found[name][0] and f"intentd[{extra}]" in found[name][1]
