"""Builds the MQTT output if the settings ask for it."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

from daemon.base.errors import UserError
from daemon.base.network import split_address
from daemon.base.text import value_text
from daemon.output.base import OutputContext
from daemon.output.extras import required
from daemon.output.secrets import read_secret

if TYPE_CHECKING:
    from daemon.output.mqtt.output import Mqtt


def make(context: OutputContext) -> Mqtt | None:
    """The MQTT output; None if the settings don't ask for it.

    Raises: UserError if paho-mqtt is missing, or a setting is wrong.
    """
    address, about = context.settings.output.mqtt, context.settings.mqtt
    if not address:
        return None
    try:
        host, port = split_address(address)
    except ValueError:
        raise UserError(
            f"output.mqtt is {value_text(address)}; it must be a host and a port, for example "
            "localhost:1883"
        ) from None
    with required("output.mqtt", "paho-mqtt", "mqtt"):
        from daemon.output.mqtt.client import Broker
        from daemon.output.mqtt.output import Mqtt
    password = read_secret("mqtt.password_file", about.password_file, "INTENTD_MQTT_PASSWORD")
    if password and not about.user:
        raise UserError("there is a password for MQTT and no mqtt.user; name the user too")
    name = about.name or re.sub(r"[/+#\0]", "-", platform.node()) or "intentd"
    return Mqtt(
        Broker(
            host,
            port,
            user=about.user,
            password=password,
            tls=about.tls,
            ca_file=about.ca_file,
        ),
        base=f"{about.topic.rstrip('/')}/{name}",
        name=name,
        discovery=about.discovery.strip("/"),
        interval=about.interval,
        queue=about.queue,
        controls=context.controls,
    )
