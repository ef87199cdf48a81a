"""MQTT at a real mosquitto: events, state, discovery, pausing, the demo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.broker import MOSQUITTO, Mosquitto, Subscriber, until
from support.demo import DEMO
from support.mqtt import Pausing, event, intents, mqtt, running

from daemon.output.mqtt import discovery

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto"),
]
ROOT = Path(__file__).resolve().parents[3]


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
