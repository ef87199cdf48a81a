"""A real mosquitto that can be killed and restarted, and a subscriber."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def missing_servers() -> list[str]:
    """Debian packages of servers for the outputs that this machine lacks."""
    missing = [] if MOSQUITTO is not None else ["mosquitto"]
    return missing + ([] if shutil.which("prometheus") else ["prometheus"])


def until(condition: Callable[[], Any], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


class Mosquitto:
    """A broker on a port, with a folder that it keeps its sessions in."""

    def __init__(self, folder: Path, port: int, *lines: str) -> None:
        self.port = port
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        about = lines or ("allow_anonymous true",)
        self._config.write_text(
            "\n".join(
                [
                    f"listener {port} 127.0.0.1",
                    *about,
                    *("user root", "persistence true", f"persistence_location {folder}/"),
                    *("autosave_on_changes true", "autosave_interval 1"),
                ]
            )
            + "\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import socket

        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log
            )

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        assert until(answers), self._log.read_text()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class Subscriber:
    """A client with a session that the broker keeps, as Node-RED's."""

    def __init__(self, port: int, topic: str = "#", **login: Any) -> None:
        self.got: list[tuple[str, str, bool]] = []
        self.at: list[float] = []
        """When each came, on the monotonic clock."""
        ready = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        if "user" in login:
            self._client.username_pw_set(login["user"], login["password"])
        if "tls" in login:
            self._client.tls_set_context(login["tls"])
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: ready.set()

        def message(_client: Client, _data: Any, message: Any) -> None:
            self.at.append(time.monotonic())
            self.got.append((message.topic, message.payload.decode(), bool(message.retain)))

        self._client.on_message = message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(10)

    def payloads(self, topic: str) -> list[str]:
        return [payload for where, payload, _ in self.got if where == topic]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
