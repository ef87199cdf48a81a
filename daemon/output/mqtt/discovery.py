"""Home Assistant's description of the device (MQTT discovery). Pure.

As of Home Assistant 2024.11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from zlib import crc32

ONLINE, OFFLINE = "online", "offline"
"""Home Assistant's default payloads of availability."""
ON, OFF = "ON", "OFF"
"""Its default payloads of switches and binary sensors."""


def object_id(name: str) -> str:
    """A name in the letters that Home Assistant allows in identifiers.

    Topics allow no others either.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if plain != name:  # two names in other letters must not become one device
        plain += f"_{crc32(name.encode()):08x}"
    return f"intentd_{plain}"


def topic(prefix: str, name: str) -> str:
    """Where the device's description is published, retained."""
    return f"{prefix}/device/{object_id(name)}/config"


def description(
    base: str, name: str, *, intents: Sequence[str], model: str, version: str
) -> dict[str, Any]:
    """One device: event entity with the intents as types, sensors, a switch.

    The switch pauses.

    Keys: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, and the pages
    of event, binary_sensor, sensor and switch.
    """
    identifier = object_id(name)

    def component(platform: str, key: str, title: str, **about: Any) -> dict[str, Any]:
        return {
            "platform": platform, "unique_id": f"{identifier}_{key}", "name": title, **about
        }  # fmt: skip

    state = f"{base}/state"
    diagnostic = {"entity_category": "diagnostic", "state_topic": state}
    return {
        "device": {
            "identifiers": [identifier],
            "name": f"intentd {name}",
            "manufacturer": "intentd",
            "model": model,
            "sw_version": version,
        },
        "origin": {"name": "intentd", "sw_version": version},
        "availability_topic": f"{base}/availability",
        "qos": 1,
        "components": {
            "intent": component(
                "event", "intent", "Intent", state_topic=f"{base}/event",
                event_types=list(intents), icon="mdi:microphone-message",
            ),
            "problem": component(
                "binary_sensor", "problem", "Problem", device_class="problem",
                value_template="{{ 'OFF' if value_json.healthy else 'ON' }}",
                json_attributes_topic=state,
                json_attributes_template="{{ {'problems': value_json.problems} | tojson }}",
                **diagnostic,
            ),
            "level": component(
                "sensor", "level", "Level", unit_of_measurement="dB", state_class="measurement",
                value_template="{{ value_json.level_dbfs }}", **diagnostic,
            ),
            "load": component(
                "sensor", "load", "Load", unit_of_measurement="%", state_class="measurement",
                value_template="{{ value_json.load_percent }}", **diagnostic,
            ),
            "pause": component(
                "switch", "pause", "Pause", state_topic=f"{base}/pause",
                command_topic=f"{base}/pause/set", icon="mdi:microphone-off",
            ),
        },
    }  # fmt: skip
