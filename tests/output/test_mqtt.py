"""MQTT against a real mosquitto: events, state, discovery, pausing, and a broker that goes away."""

from __future__ import annotations

import json
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
from support.run_controls import Controls, free_port

from daemon.base.errors import UserError
from daemon.config import Settings, load_settings
from daemon.config.sources import Sources
from daemon.messages import Event, RunInfo
from daemon.output.base import OutputContext
from daemon.output.dispatch import Dispatcher
from daemon.output.mqtt import discovery, factory
from daemon.output.mqtt.output import Mqtt

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto"),
]
ROOT = Path(__file__).resolve().parents[2]
DEMO = ["left", "go", "one", "five", "right", "eight", "up"]
RUN = RunInfo((), ("left", "right", "unknown"), frozenset({"unknown"}), (), "m", "b", 1.0, 0.24)


def event(number: int, intent: str = "left") -> Event:
    return Event("mic", intent, number, number + 0.5, 0.9, number + 1.0, "2026-11-01T10:00:00Z")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path, free_port())
    made.start()
    yield made
    made.kill()


class Pausing(Controls):
    """Controls that can be paused."""

    paused = False

    def pause(self, paused: bool) -> None:
        self.paused = paused


def mqtt(port: int, controls: Any = None, **about: Any) -> Mqtt:
    settings = Settings.model_validate(
        {
            "output": {"mqtt": f"127.0.0.1:{port}"},
            "mqtt": {"name": "kitchen", "interval": 1.0} | about,
        }
    )
    made = factory.make(OutputContext(settings, controls or Pausing()))
    assert made is not None
    return made


def running(output: Mqtt, first_retry: float = 0.1) -> Dispatcher:
    dispatcher = Dispatcher([output], lossless=False, first_retry=first_retry)
    dispatcher.open(RUN)
    return dispatcher


def intents(subscriber: Subscriber) -> list[str]:
    return [json.loads(text)["intent"] for text in subscriber.payloads("intentd/kitchen/event")]


# ---- what is published --------------------------------------------------------------------------


def test_events_state_and_discovery_are_published(broker: Mosquitto) -> None:
    subscriber = Subscriber(broker.port)
    dispatcher = running(mqtt(broker.port))
    try:
        dispatcher.publish(event(1), event(2, "right"))
        assert until(lambda: len(intents(subscriber)) == 2)
        assert until(lambda: subscriber.payloads("intentd/kitchen/state"))
        dispatcher.close(5)
        assert until(lambda: len(subscriber.payloads("intentd/kitchen/availability")) == 2)
    finally:
        subscriber.stop()
    first = json.loads(subscriber.payloads("intentd/kitchen/event")[0])
    assert first == {
        "event_type": "left", "type": "event", "stream": "mic", "intent": "left", "start": 1.0,
        "end": 1.5, "score": 0.9, "at_stream": 2.0, "at": "2026-11-01T10:00:00Z",
    }  # fmt: skip
    assert subscriber.payloads("intentd/kitchen/availability") == ["online", "offline"]
    assert subscriber.payloads("intentd/kitchen/pause") == ["OFF"]
    found = json.loads(subscriber.payloads("intentd/kitchen/state")[0])
    assert found == {
        "healthy": True, "problems": [], "paused": False, "level_dbfs": -32.5,
        "load_percent": 5.0, "lag_seconds": 0.25, "events": 1, "uptime_seconds": 12,
        "model": 'odd"\nmodel', "version": "1.2",
    }  # fmt: skip
    # Who subscribes later finds the state, and no old word.
    later = Subscriber(broker.port, topic="#")
    later._client.subscribe("#")
    assert until(lambda: len({topic for topic, _, retained in later.got if retained}) == 4)
    later.stop()
    # What is not retained is left over from the subscriber's own session, which the broker keeps.
    kept = {topic for topic, _, retained in later.got if retained}
    assert "intentd/kitchen/event" not in kept


SHARED = {"availability_topic", "qos", "device", "origin", "components"}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}
ENTITY = {"platform", "unique_id", "name", "icon", "state_topic", "entity_category",
          "value_template", "json_attributes_topic", "json_attributes_template"}  # fmt: skip
DOCUMENTED = {
    "event": ENTITY | {"event_types", "device_class"},
    "binary_sensor": ENTITY | {"device_class", "payload_on", "payload_off"},
    "sensor": ENTITY | {"device_class", "unit_of_measurement", "state_class"},
    "switch": ENTITY | {"command_topic", "payload_on", "payload_off"},
}
"""Keys of Home Assistant's documentation, of those that there is a use for."""
REQUIRED = {
    "event": {"state_topic", "event_types"},
    "binary_sensor": {"state_topic"},
    "sensor": {"state_topic"},
    "switch": {"command_topic"},
}


def test_discovery_uses_home_assistants_documented_keys(broker: Mosquitto) -> None:
    subscriber = Subscriber(broker.port)
    dispatcher = running(mqtt(broker.port))
    where = "homeassistant/device/intentd_kitchen/config"
    assert until(lambda: subscriber.payloads(where))
    dispatcher.close(5)
    subscriber.stop()
    found = json.loads(subscriber.payloads(where)[0])
    assert set(found) == SHARED
    assert set(found["device"]) <= DEVICE and found["device"]["identifiers"] == ["intentd_kitchen"]
    assert set(found["origin"]) == {"name", "sw_version"}
    components = found["components"]
    for about in components.values():
        platform = about["platform"]
        assert set(about) <= DOCUMENTED[platform]
        assert REQUIRED[platform] | {"unique_id"} <= set(about)
    assert len({about["unique_id"] for about in components.values()}) == len(components)
    assert components["intent"]["event_types"] == ["left", "right"]
    # Every topic named is one that is published, or listened to.
    named = {text for about in components.values() for key, text in about.items() if "topic" in key}
    published = {topic for topic, _, _ in subscriber.got}
    assert named - published == {"intentd/kitchen/pause/set", "intentd/kitchen/event"}
    state = json.loads(subscriber.payloads("intentd/kitchen/state")[0])
    for about in components.values():
        for part in about.get("value_template", "").split("value_json.")[1:]:
            assert part.split(" ")[0] in state
    allowed = r"ha/device/[a-zA-Z0-9_-]+/config"
    topics = {
        discovery.topic("ha", name)
        for name in ("kitchen", "Küche", "кухня", "спальня", "зал", "дом")
    }
    assert len(topics) == 6 and all(re.fullmatch(allowed, topic) for topic in topics)


def test_the_switch_pauses(broker: Mosquitto) -> None:
    controls = Pausing()
    subscriber = Subscriber(broker.port)
    # A wish that was retained is an old one.
    subscriber.publish("intentd/kitchen/pause/set", "ON", retain=True)
    dispatcher = running(mqtt(broker.port, controls))
    assert until(lambda: subscriber.payloads("intentd/kitchen/pause") == ["OFF"])
    assert not controls.paused
    subscriber.publish("intentd/kitchen/pause/set", "maybe")
    subscriber.publish("intentd/kitchen/pause/set", "ON")
    assert until(lambda: controls.paused)
    assert until(lambda: subscriber.payloads("intentd/kitchen/pause") == ["OFF", "ON"])
    subscriber.publish("intentd/kitchen/pause/set", "OFF")
    assert until(lambda: not controls.paused)
    controls.pause(True)  # by the dashboard
    assert until(lambda: subscriber.payloads("intentd/kitchen/pause")[-1] == "ON")
    dispatcher.close(5)
    subscriber.stop()


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
from output.test_mqtt import mqtt, running
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


def test_the_flow_for_node_red_reads_what_is_published(broker: Mosquitto) -> None:
    flow = {node["id"]: node for node in json.loads((ROOT / "docs" / "node-red.json").read_text())}
    entry = flow["intentd.events"]
    subscriber = Subscriber(broker.port, topic=entry["topic"])
    dispatcher = running(mqtt(broker.port))
    dispatcher.publish(event(1))
    assert until(lambda: len(intents(subscriber)) == 1)
    dispatcher.close(5)
    subscriber.stop()
    switch = flow["intentd.switch"]
    wanted = switch["property"].removeprefix("payload.")
    assert json.loads(subscriber.got[0][1])[wanted] == switch["rules"][0]["v"]
    assert flow[entry["broker"]]["type"] == "mqtt-broker"
    assert all(
        target in flow for node in flow.values() for w in node.get("wires", ()) for target in w
    )


# ---- the demo -----------------------------------------------------------------------------------


def replay(folder: Path, port: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "daemon", "replay", "--demo", "--headless"),
            *("--set", f"output.mqtt=127.0.0.1:{port}", "--set", "mqtt.name=kitchen", *more),
        ],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_demos_events_arrive_once_with_the_broker_away_for_ten_seconds(
    broker: Mosquitto, tmp_path: Path
) -> None:
    subscriber = Subscriber(broker.port)
    process = replay(tmp_path, broker.port)
    assert until(lambda: len(intents(subscriber)) == 2, 200)
    time.sleep(1.2)  # until the subscriber's session is saved
    broker.kill()
    time.sleep(10.0)
    broker.start()
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert until(lambda: len(intents(subscriber)) == 7, 10)
    subscriber.stop()
    assert intents(subscriber) == DEMO
    assert "switched off" in errors and "works again, 0 messages lost" in errors
    assert out.count("\n") > 7
