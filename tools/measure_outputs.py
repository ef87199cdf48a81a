"""Measures latency and cost of commands, MQTT, webhook and metrics.

The latency is that of events; the cost is the worker's.

    python tools/measure_outputs.py --events 200 --rounds 10

Needs mosquitto. Everything is on loopback, through the daemon's own dispatcher and outputs. First
the time from firing (the worker publishes the event) to receipt: in the command once it runs, in a
subscriber, in an HTTP server. Then the processor time that publishing takes the worker's own
thread, and that a whole replay of the demo takes its process, without and with all outputs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from daemon.config import Settings
from daemon.health.snapshot import Health
from daemon.messages import Event, Message, Prediction, RunInfo
from daemon.output.base import OutputContext, OutputHealth
from daemon.output.dispatch import Dispatcher
from daemon.output.registry import make_outputs

RUN = RunInfo((), ("left", "right"), frozenset(), (0.5, 0.5), "m", "b", 1.0, 0.24)
EVENT = Event("mic", "left", 0.0, 1.0, 0.9, 1.0)


class Controls:
    """The controls of a run that nobody controls."""

    load: float | None = 0.02
    paused = False
    outputs: tuple[OutputHealth, ...] = ()

    def health(self) -> Health:
        return Health(0, "0", 0.0, "m", "b", False, 0.02, 0.0, 0.5, None, ())

    def warn(self, sentence: str) -> None:
        print(sentence, file=sys.stderr)

    def pause(self, paused: bool) -> None: ...

    def quit(self) -> None: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Receivers:
    """Broker with a subscriber, HTTP server and FIFO, which time events."""

    def __init__(self, folder: Path) -> None:
        self.at: dict[str, dict[int, float]] = {"command": {}, "MQTT": {}, "webhook": {}}
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        self._pipe = os.open(self.fifo, os.O_RDWR)
        self.broker_port, self.metrics_port = free_port(), free_port()
        config = folder / "mosquitto.conf"
        config.write_text(f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\n")
        path = f"{os.environ['PATH']}:/usr/sbin"
        self._broker = subprocess.Popen(
            ["mosquitto", "-c", str(config)], env=os.environ | {"PATH": path},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while socket.socket().connect_ex(("127.0.0.1", self.broker_port)):
            time.sleep(0.02)
        self._subscriber = Client(CallbackAPIVersion.VERSION2)
        self._subscriber.on_message = lambda _c, _d, message: self._note(
            "MQTT", bytes(message.payload)
        )
        self._subscriber.connect("127.0.0.1", self.broker_port)
        self._subscriber.subscribe("intentd/test/event", qos=1)
        self._subscriber.loop_start()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner._note("webhook", body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        for task in (self._server.serve_forever, self._read):
            threading.Thread(target=task, daemon=True).start()

    def settings(self) -> Settings:
        """All outputs, to these receivers."""
        line = f'echo "{{\\"start\\":$INTENTD_AT_STREAM}}" > {self.fifo}'
        return Settings.model_validate(
            {
                "on": {"*": {"run": [line], "shell": True}},
                "mqtt": {"name": "test", "queue": 8192},
                "webhook": {"queue": 8192},
                "output": {
                    "headless": True,
                    "jsonl": "-",
                    "mqtt": f"127.0.0.1:{self.broker_port}",
                    "webhook": f"http://127.0.0.1:{self._server.server_address[1]}/",
                    "metrics": f"127.0.0.1:{self.metrics_port}",
                },
            }
        )

    def stop(self) -> None:
        self._subscriber.loop_stop()
        self._broker.terminate()
        self._server.shutdown()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._note("MQTT", bytes(message.payload))

    def _note(self, output: str, line: bytes) -> None:
        now = time.perf_counter()
        number = line.split(b'"start":')[1].split(b",")[0].strip(b" }\n")
        self.at[output].setdefault(int(float(number)), now)

    def _read(self) -> None:
        while part := os.read(self._pipe, 4096):
            for line in part.splitlines():
                self._note("command", line)


def outputs_of(settings: Settings) -> list[Any]:
    made = make_outputs(OutputContext(settings, Controls()))
    return [output for name, output in made.items() if name not in ("terminal", "JSON lines")]


def interval(values: Sequence[float], of: Callable[[Sequence[float]], float]) -> tuple[float, ...]:
    """The statistic with its 95 % bootstrap interval."""
    draw = random.Random(0)
    again = sorted(of(draw.choices(values, k=len(values))) for _ in range(2000))
    return of(values), again[49], again[1949]


def time_to_receipt(receivers: Receivers, events: int) -> None:
    dispatcher = Dispatcher(outputs_of(receivers.settings()), lossless=False)
    dispatcher.open(RUN)
    time.sleep(1.0)
    draw = random.Random(1)
    fired: dict[int, float] = {}
    for number in range(1, events + 1):
        time.sleep(draw.uniform(0.05, 0.15))
        # The command tells at_stream, the others start.
        event = replace(EVENT, start=float(number), at_stream=float(number))
        fired[number] = time.perf_counter()
        dispatcher.publish(event)
    end = time.monotonic() + 20
    while time.monotonic() < end and any(len(at) < events for at in receivers.at.values()):
        time.sleep(0.05)
    dispatcher.close(5)
    print(
        f"firing to receipt, ms, of {events} events "
        "(median with its 95 % interval, 95th percentile)"
    )
    for output, at in receivers.at.items():
        times = [1000 * (at[number] - fired[number]) for number in at]
        middle, low, high = interval(times, statistics.median)
        worst = float(np.percentile(times, 95))
        order = "in order" if list(at) == sorted(at) else "OUT OF ORDER"
        print(
            f"  {output:8} {middle:6.2f} ({low:.2f} to {high:.2f}) {worst:7.2f}"
            f"   {len(times)} arrived, {order}"
        )


def cost_of_publishing(receivers: Receivers, rounds: int) -> None:
    """Processor time of the publishing thread at a usual rate.

    That is 4 predictions a second and an event in 5 s.
    """
    rolling = np.zeros(2, np.float32)
    window = Prediction("mic", 0.0, 1.0, False, rolling, rolling, 5.0)
    messages: list[Message] = [*([window] * 20), EVENT]
    settings = receivers.settings()
    away = settings.model_copy(
        update={
            "output": settings.output.model_copy(
                update={"mqtt": "127.0.0.1:9", "webhook": "http://127.0.0.1:9/"}
            )
        }
    )
    print(f"the publishing thread's processor time, µs a message ({rounds} rounds of 210)")
    for title, outputs in (("none", []), ("all", settings), ("broker and server away", away)):
        times = []
        for _ in range(rounds):
            made = outputs_of(outputs) if isinstance(outputs, Settings) else []
            dispatcher = Dispatcher(made, lossless=False)
            dispatcher.open(RUN)
            begun = time.thread_time()
            for _ in range(10):
                for message in messages:
                    dispatcher.publish(message)
            times.append(1e6 * (time.thread_time() - begun) / (10 * len(messages)))
            dispatcher.close(5)
        middle, low, high = interval(times, statistics.median)
        print(f"  {title:24} {middle:6.2f} ({low:.2f} to {high:.2f})")


def cost_of_a_replay(receivers: Receivers, rounds: int) -> None:
    """Processor time of the process for the demo, as fast as it can."""
    output = receivers.settings().output
    every = ["--set", f"output.mqtt={output.mqtt}", "--set", f"output.webhook={output.webhook}"]
    every += ["--set", f"output.metrics={output.metrics}", "--on", "*=true"]
    command = [sys.executable, "-m", "daemon", "replay", "--demo", "--speed", "max", "--headless"]
    times: dict[str, list[float]] = {"none": [], "all": []}
    for _ in range(rounds):
        for title, options in (("none", []), ("all", every)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            times[title].append(used)
    print(f"processor time of a replay of the demo, s ({rounds} rounds, alternately)")
    for title, values in times.items():
        middle, low, high = interval(values, statistics.median)
        print(f"  {title:24} {middle:6.2f} ({low:.2f} to {high:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        receivers = Receivers(Path(folder))
        try:
            time_to_receipt(receivers, arguments.events)
            cost_of_publishing(receivers, arguments.rounds)
            cost_of_a_replay(receivers, arguments.rounds)
        finally:
            receivers.stop()


if __name__ == "__main__":
    main()
