"""Publishes events and the run's state; takes requests to pause.

Below `base`, for example intentd/kitchen: `event` (not retained: an old word is no word), `state`,
`availability` and `pause` (retained); `pause/set` is listened to.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar

from daemon import __version__
from daemon.base.text import escaped, utf8_text
from daemon.messages import Event, Message, RunInfo
from daemon.output.base import ActiveOutput, RunControls
from daemon.output.line_format import LineFormat
from daemon.output.mqtt import discovery as home_assistant
from daemon.output.mqtt.client import Broker
from daemon.output.mqtt.discovery import OFF, OFFLINE, ON, ONLINE

if TYPE_CHECKING:
    from daemon.health.snapshot import Health

log = logging.getLogger(__name__)


class Mqtt(ActiveOutput):
    """One device at one broker.

    Events that come while the broker is away wait in the output's lane, which connects again with
    longer and longer pauses.
    """

    takes: ClassVar[frozenset[type]] = frozenset({Event})

    def __init__(
        self,
        broker: Broker,
        *,
        base: str,
        name: str,
        discovery: str,
        interval: float,
        queue: int,
        controls: RunControls,
    ) -> None:
        """Set up one device.

        Args:
            base: topics begin with it.
            name: of the device.
            discovery: the prefix below which Home Assistant looks; empty, nothing is announced.
            interval: seconds from state to state.
            queue: events that wait, at most.
            controls: where the state comes from, and pausing goes to.
        """
        self.capacity = queue
        self.tick_seconds = 0.0  # connect at once, in the lane's thread
        self._broker = broker
        self._base = base
        self._name = name
        self._discovery = discovery
        self._interval = interval
        self._controls = controls
        self._format = LineFormat(())
        self._run: RunInfo | None = None
        self._state_due = 0.0
        self._paused: bool | None = None
        self._events = 0

    @property
    def name(self) -> str:
        return f"MQTT to {escaped(self._broker.address)}"

    @property
    def state(self) -> str:
        where = "connected" if self._broker.connected else "not connected"
        return f"{where} as {escaped(self._base)}, {self._events} events"

    def open(self, run: RunInfo) -> None:
        """The lane connects: a broker that is away is no reason not to listen."""
        self._run = run
        self._format = LineFormat(run.labels)

    def publish(self, message: Message) -> None:
        """Publish one event. Raises OSError if it was not acknowledged."""
        if not isinstance(message, Event):
            return
        self._ensure()
        line = json.loads(self._format.line(message))
        # Home Assistant's name for what fired; everything else are attributes there.
        content = {"event_type": line["intent"], **line}
        self._send("event", json.dumps(content, ensure_ascii=False), retain=False)
        self._events += 1

    def tick(self) -> None:
        """Connect, and publish what has changed.

        Raises: OSError if that can't be done.
        """
        self.tick_seconds = 0.5
        self._ensure()
        paused = self._controls.paused
        if paused != self._paused:
            self._send("pause", ON if paused else OFF, retain=True)
            self._paused = paused
            self._state_due = 0.0
        now = time.monotonic()
        if now >= self._state_due:
            content = state(self._controls.health())
            self._send("state", json.dumps(content, ensure_ascii=False), retain=True)
            self._state_due = now + self._interval

    def reopen(self) -> None:
        """Connect again if the connection is lost."""
        self._ensure()

    def close(self) -> None:
        """Say goodbye, since a broker publishes the will only of those who don't."""
        if self._broker.connected:
            self._send("availability", OFFLINE, retain=True)
        self._broker.disconnect()

    def _ensure(self) -> None:
        """Be connected, with everything announced."""
        if self._broker.connected:
            return
        assert self._run is not None
        availability = (f"{self._base}/availability", OFFLINE)
        self._broker.connect(availability, f"{self._base}/pause/set", self._obey)
        log.info("connected to %s", self._broker.address)
        if self._discovery:
            intents = [label for label in self._run.labels if label not in self._run.non_intents]
            about = home_assistant.description(
                self._base,
                self._name,
                intents=[utf8_text(label) for label in intents],
                model=utf8_text(self._run.model),
                version=__version__,
            )
            where = home_assistant.topic(self._discovery, self._name)
            self._broker.publish(where, json.dumps(about, ensure_ascii=False), retain=True)
        self._send("availability", ONLINE, retain=True)
        self._state_due, self._paused = 0.0, None

    def _send(self, topic: str, payload: str, *, retain: bool) -> None:
        self._broker.publish(f"{self._base}/{topic}", payload, retain=retain)

    def _obey(self, wish: str) -> None:
        """A message on pause/set; in the library's thread."""
        if wish not in (ON, OFF):
            log.info("a message on %s/pause/set is neither ON nor OFF", self._base)
            return
        self._controls.pause(wish == ON)


def state(health: Health) -> dict[str, Any]:
    """The retained state of the device."""
    levels = [stream.level_dbfs for stream in health.streams if stream.level_dbfs is not None]
    return {
        "healthy": not health.problems,
        "problems": [utf8_text(problem) for problem in health.problems],
        "paused": health.paused,
        "level_dbfs": round(max(levels), 1) if levels else None,
        "load_percent": None if health.load is None else round(100 * health.load, 1),
        "lag_seconds": round(health.lag, 3),
        "events": sum(stream.events for stream in health.streams),
        "uptime_seconds": round(health.uptime),
        "model": utf8_text(health.model),
        "version": health.version,
    }
