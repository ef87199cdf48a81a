"""Connection to an MQTT broker; each failure is an OSError with a reason.

There is one connection at a time.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from daemon.base.errors import UserError, os_reason
from daemon.base.text import escaped

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
"""What a broker gets to accept a connection, and to acknowledge a message."""
KEEPALIVE = 15
"""Seconds; a broker that says nothing for half as long again is gone."""


class Broker:
    """A broker, connected or not. Callbacks come in a thread of their own."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        password: Callable[[], str],
        tls: bool,
        ca_file: str,
    ) -> None:
        """Set up a broker.

        Raises: UserError if the password or the certificates can't be used.

        password: read for each connection, so that a changed one counts from the next on.
        """
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port = host, port
        self._user, self._password = user, password
        self._read_password()
        self._tls = _trusting(ca_file) if tls or ca_file else None
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._connected = False
        self._refused = ""
        self._acknowledged: set[int] = set()

    @property
    def connected(self) -> bool:
        return self._connected

    def connect(
        self,
        will: tuple[str, str] | None = None,
        topic: str = "",
        on_command: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Connect, and subscribe to `topic` unless it is empty.

        Raises: OSError with what the broker says.

        Args:
            will: topic and payload that the broker publishes, retained, should we vanish.
            topic: subscribed to.
            on_command: called with the payload of each message on it.
        """
        self.disconnect()
        try:
            password = self._read_password()
        except UserError as error:
            raise OSError(str(error)) from None
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"intentd-{uuid.uuid4().hex[:12]}",
            reconnect_on_failure=False,  # the output's lane paces that
        )
        client.connect_timeout = ANSWER_SECONDS
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        if self._user:
            client.username_pw_set(self._user, password or None)
        if self._tls is not None:
            client.tls_set_context(self._tls)

        def message(_client: Client, _data: Any, message: MQTTMessage) -> None:
            if not message.retain:  # an old wish is none
                on_command(message.payload.decode(errors="replace"))

        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = message
        self._client, self._refused = client, ""
        self._acknowledged.clear()
        try:
            client.connect(self._host, self._port, KEEPALIVE)
        except ssl.SSLError as error:
            raise OSError(f"TLS failed: {escaped(error.reason or str(error), 200)}") from None
        except TimeoutError:
            raise OSError(f"no answer within {ANSWER_SECONDS:g} s") from None
        client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._refused, ANSWER_SECONDS)
        if not self._connected:
            self.disconnect()
            raise OSError(self._refused or f"no answer within {ANSWER_SECONDS:g} s")
        if topic:
            client.subscribe(topic, qos=1)

    def publish(self, topic: str, payload: str, *, retain: bool) -> None:
        """Publish with QoS 1 and wait for the acknowledgement.

        Raises: OSError if there is none; the broker may have the message then.
        """
        client = self._client
        if client is None or not self._connected:
            raise OSError(self._refused or "not connected")
        sent = client.publish(topic, payload.encode(), qos=1, retain=retain)
        with self._changed:
            self._changed.wait_for(
                lambda: sent.mid in self._acknowledged or not self._connected, ANSWER_SECONDS
            )
            if sent.mid in self._acknowledged:
                self._acknowledged.discard(sent.mid)
                return
        reason = self._refused or f"no acknowledgement within {ANSWER_SECONDS:g} s"
        self.disconnect()
        raise OSError(reason)

    def disconnect(self) -> None:
        """Let go of the connection, if there is one."""
        client, self._client = self._client, None
        if client is None:
            return
        client.on_disconnect = None
        client.disconnect()
        client.loop_stop()
        self._connected = False

    def _read_password(self) -> str:
        """The password now. UserError if it can't be read, or nobody has it."""
        password = self._password()
        if password and not self._user:
            raise UserError("there is a password for MQTT and no mqtt.user; name the user too")
        return password

    # ---- the library's thread -------------------------------------------------------------------

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, _: Any
    ) -> None:
        with self._changed:
            if code.is_failure:
                self._refused = f"the broker says {str(code).lower()}"
            self._connected = not code.is_failure
            self._changed.notify_all()

    def _on_disconnect(
        self,
        _client: Client,
        _data: Any,
        _flags: DisconnectFlags,
        _code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        log.info("the connection to %s is lost", self.address)
        with self._changed:
            self._connected = False
            self._refused = self._refused or "the connection is lost"
            self._changed.notify_all()

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, _code: ReasonCode, _properties: Properties
    ) -> None:
        with self._changed:
            self._acknowledged.add(mid)
            if len(self._acknowledged) > 1000:  # of those that nobody waited for any more
                self._acknowledged.pop()
            self._changed.notify_all()


def _trusting(ca_file: str) -> ssl.SSLContext:
    path = os.path.expanduser(ca_file) if ca_file else None  # noqa: PTH111
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise UserError(
            f"mqtt.ca_file is {escaped(ca_file)}, which can't be used ({os_reason(error)}); name a "
            "file of PEM certificates"
        ) from None
