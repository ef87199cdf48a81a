"""Brokers that go away, want a password or speak TLS."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.broker import MOSQUITTO, Mosquitto, Subscriber, until
from support.mqtt import event, intents, mqtt, running
from support.run_controls import Controls, free_port

from daemon.base.errors import UserError
from daemon.config import Settings, load_settings
from daemon.config.sources import Sources
from daemon.output.base import OutputContext
from daemon.output.mqtt import factory

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto"),
]


# ---- brokers that go away -----------------------------------------------------------------------


def test_events_wait_for_a_broker_that_is_killed(
    broker: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    subscriber = Subscriber(broker.port)
    output = mqtt(broker.port, queue=3)
    dispatcher = running(output)
    dispatcher.publish(event(0))
    assert until(lambda: len(intents(subscriber)) == 1)
    time.sleep(1.5)  # until the subscriber's session is saved
    broker.kill()
    # Noticed without an event, too.
    assert until(lambda: dispatcher.troubles != ())
    assert "connection is lost" in dispatcher.troubles[0] or "refused" in dispatcher.troubles[0]
    assert output.state == "not connected as intentd/kitchen, 1 events"
    numbers = range(1, 6)
    dispatcher.publish(*(event(number, f"word{number}") for number in numbers))
    time.sleep(1.0)
    broker.start()
    assert until(lambda: dispatcher.troubles == () and not dispatcher.pending)
    assert until(lambda: len(intents(subscriber)) >= 4)
    subscriber.stop()
    dispatcher.close(5)
    kept = intents(subscriber)
    assert (
        kept[0] == "left" and kept[1:] == [f"word{number}" for number in numbers][-len(kept) + 1 :]
    )
    assert dispatcher.lost == {output.name: 6 - len(kept)}
    assert f"works again, {6 - len(kept)} messages lost" in capsys.readouterr().err


def test_the_will_says_that_a_daemon_is_gone(broker: Mosquitto) -> None:
    subscriber = Subscriber(broker.port)
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "tests")!r})
from support.mqtt import mqtt, running
running(mqtt({broker.port}))
time.sleep(60)
"""
    daemon = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    where = "intentd/kitchen/availability"
    assert until(lambda: subscriber.payloads(where) == ["online"], 40)
    daemon.kill()
    daemon.wait(10)
    assert until(lambda: subscriber.payloads(where) == ["online", "offline"])
    subscriber.stop()


def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, free_port())
    dispatcher = running(mqtt(broker.port))
    assert until(lambda: dispatcher.troubles != ())
    assert "connection refused" in dispatcher.troubles[0]
    broker.start()
    try:
        assert until(lambda: dispatcher.troubles == ())
    finally:
        dispatcher.close(5)
        broker.kill()


def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from daemon.output.mqtt import client

    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dispatcher = running(mqtt(silent.getsockname()[1]))
        assert until(lambda: dispatcher.troubles != ())
        assert "no answer within 0.5 s" in dispatcher.troubles[0]
        dispatcher.close(0.1)


# ---- users, passwords, TLS ----------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path / "cert.pem"


@pytest.fixture
def closed(tmp_path: Path, certificate: Path) -> Iterator[Mosquitto]:
    """A broker with TLS that wants a password."""
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "me", "hush"],
        check=True, capture_output=True,
    )  # fmt: skip
    passwords.chmod(0o600)
    made = Mosquitto(
        tmp_path, free_port(), f"certfile {certificate}", f"keyfile {tmp_path / 'key.pem'}",
        "allow_anonymous false", f"password_file {passwords}",
    )  # fmt: skip
    made.start()
    yield made
    made.kill()


def test_tls_and_a_password_from_a_file_or_the_environment(
    closed: Mosquitto, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("hush\n")
    secure = {"ca_file": str(certificate), "user": "me"}
    trusting = ssl.create_default_context(cafile=str(certificate))
    subscriber = Subscriber(closed.port, user="me", password="hush", tls=trusting)
    for number, about in enumerate([{"password_file": str(tmp_path / "password")}, {}]):
        if not about:
            monkeypatch.setenv("INTENTD_MQTT_PASSWORD", "hush")
        dispatcher = running(mqtt(closed.port, **secure, **about))
        dispatcher.publish(event(number))
        wanted = number + 1
        assert until(lambda wanted=wanted: len(intents(subscriber)) == wanted)  # type: ignore[misc]
        dispatcher.close(5)
        assert dispatcher.failures == []
    subscriber.stop()


def test_a_password_that_was_wrong_is_read_again(
    closed: Mosquitto, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wrong\n")
    about = {"ca_file": str(certificate), "user": "me"}
    dispatcher = running(mqtt(closed.port, **about, password_file=str(tmp_path / "password")))
    assert until(lambda: dispatcher.troubles != ())
    (tmp_path / "password").unlink()
    assert until(lambda: "can't be read" in str(dispatcher.troubles))
    (tmp_path / "password").write_text("hush\n")
    assert until(lambda: dispatcher.troubles == ())
    dispatcher.close(5)


@pytest.mark.parametrize(
    ("about", "password", "reason"),
    [
        ({"user": "me"}, "wrong", "not authori[sz]ed|bad user name"),
        ({}, "", "not authori[sz]ed|bad user name"),
        ({"user": "me", "ca_file": ""}, "hush", "TLS failed|certificate"),
    ],
)
def test_a_broker_that_refuses_is_named_and_no_password_shown(
    closed: Mosquitto, certificate: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], about: dict[str, Any], password: str, reason: str,
) -> None:  # fmt: skip
    if password:
        monkeypatch.setenv("INTENTD_MQTT_PASSWORD", password)
    dispatcher = running(mqtt(closed.port, **({"ca_file": str(certificate), "tls": True} | about)))
    assert until(lambda: dispatcher.troubles != ())
    (trouble,) = dispatcher.troubles
    dispatcher.close(0.2)
    assert re.search(reason, trouble, re.I), trouble
    said = capsys.readouterr()
    assert not password or password not in said.out + said.err


def test_no_password_is_shown_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from daemon.cli import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "password").write_text("hush hush\n")
    monkeypatch.setenv("INTENTD_MQTT_PASSWORD", "hush hush")
    assert run(["config", "--set", "mqtt.password_file=password", "--set", "mqtt.user=me"]) == 0
    said = capsys.readouterr()
    assert 'password_file = "password"' in said.out and "hush" not in said.out + said.err
    for wrong in ("output.mqtt=me:hush@host:1883", "mqtt.password=hush"):
        with pytest.raises(UserError) as caught:
            load_settings(Sources(assignments=(wrong,), search=False), environ={})
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["localhost", "mqtt://localhost:1883", ":1883", "a:0", "\udcff:1883"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    settings = Settings.model_validate({"output": {"mqtt": address}})
    with pytest.raises(UserError, match=r"output\.mqtt is .*must be a host and a port"):
        factory.make(OutputContext(settings, Controls()))


@pytest.mark.parametrize("key", ["topic", "name", "user", "discovery"])
@pytest.mark.parametrize("text", ["a\x00", "a\nb", "\x80", "\udcff"])
def test_what_no_message_can_hold_is_refused(key: str, text: str) -> None:
    with pytest.raises(UserError, match=rf"mqtt\.{key} is .*; it must be"):
        load_settings(Sources(assignments=(f"mqtt.{key}={text}",), search=False), environ={})
