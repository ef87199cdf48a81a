"""An MQTT output in a run, and the events that a subscriber gets."""

from __future__ import annotations

import json
from typing import Any

from daemon.config import Settings
from daemon.messages import Event, RunInfo
from daemon.output.base import OutputContext
from daemon.output.dispatch import Dispatcher
from daemon.output.mqtt import factory
from daemon.output.mqtt.output import Mqtt
from support.broker import Subscriber
from support.run_controls import Controls

RUN = RunInfo((), ("left", "right", "unknown"), frozenset({"unknown"}), (), "m", "b", 1.0, 0.24)


def event(number: int, intent: str = "left") -> Event:
    return Event("mic", intent, number, number + 0.5, 0.9, number + 1.0, "2026-11-01T10:00:00Z")


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
