"""Builds the MQTT output if the settings ask for it."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

from daemon.base.errors import UserError, os_reason
from daemon.base.network import split_address
from daemon.base.text import value_text
from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.output.base import OutputContext
from daemon.output.extras import required
from daemon.output.secrets import read_secret

if TYPE_CHECKING:
    from daemon.output.mqtt.client import Broker
    from daemon.output.mqtt.output import Mqtt


def make(context: OutputContext) -> Mqtt | None:
    """The MQTT output; None if the settings don't ask for it.

    Raises: UserError if paho-mqtt is missing, or a setting is wrong.
    """
    about = context.settings.mqtt
    if not context.settings.output.mqtt:
        return None
    broker = _broker(context.settings)
    from daemon.output.mqtt.output import Mqtt

    name = about.name or re.sub(r"[/+#\0]", "-", platform.node()) or "intentd"
    return Mqtt(
        broker,
        base=f"{about.topic.rstrip('/')}/{name}",
        name=name,
        discovery=about.discovery.strip("/"),
        interval=about.interval,
        queue=about.queue,
        controls=context.controls,
    )


def try_broker(settings: Settings) -> Outcome:
    """Connect for a moment, and publish nothing.

    Raises: UserError if a setting is wrong.
    """
    broker = _broker(settings)
    try:
        broker.connect()
    except OSError as error:
        fix = (
            "start the broker, name another one in output.mqtt, or set mqtt.user, "
            "mqtt.password_file and mqtt.tls as it wants them"
        )
        return False, f"{broker.address}: {os_reason(error)}", fix
    broker.disconnect()
    user = f" from {settings.mqtt.user}" if settings.mqtt.user else ""
    return True, f"{broker.address} accepts a connection{user}", ""


def _broker(settings: Settings) -> Broker:
    """Raises: UserError."""
    address, about = settings.output.mqtt, settings.mqtt
    try:
        host, port = split_address(address)
    except ValueError:
        raise UserError(
            f"output.mqtt is {value_text(address)}; it must be a host and a port, for example "
            "localhost:1883"
        ) from None
    with required("output.mqtt", "paho-mqtt", "mqtt"):
        from daemon.output.mqtt.client import Broker
    return Broker(
        host,
        port,
        user=about.user,
        password=lambda: read_secret(settings, "mqtt.password_file"),
        tls=about.tls,
        ca_file=about.ca_file,
    )
