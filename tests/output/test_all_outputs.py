"""Commands, MQTT, webhook and metrics of one daemon, and SIGHUP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families
from support.broker import MOSQUITTO, Mosquitto, Subscriber, until
from support.demo import DEMO
from support.run_controls import free_port

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto"),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP"),
]
ROOT = Path(__file__).resolve().parents[2]


class House:
    """A broker with a subscriber, and an HTTP server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder, free_port())
        self.broker.start()
        self.subscriber = Subscriber(self.broker.port)
        self.metrics_host, self.metrics_port = "127.0.0.1", free_port()
        self.posted: list[str] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted.append(json.loads(body)["intent"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def settings(self, *outputs: str) -> None:
        """Write config.toml with these outputs."""
        targets = {
            "mqtt": f"127.0.0.1:{self.broker.port}",
            "webhook": self.url,
            "metrics": f"{self.metrics_host}:{self.metrics_port}",
        }
        lines = [f'{name} = "{targets[name]}"' for name in outputs if name in targets]
        lines = ["[output]", *lines, "[mqtt]", 'name = "kitchen"', "[command]", "parallel = 1"]
        if "command" in outputs:
            lines += ['[on."*"]', 'run = ["echo $INTENTD_INTENT >> spoken"]', "shell = true"]
        (self.folder / "config.toml").write_text("\n".join(lines) + "\n")

    def replay(self, *recordings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "daemon", "replay", *recordings, "--headless"),
                *("--config", "config.toml"),
            ],
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def published(self) -> list[str]:
        found = self.subscriber.payloads("intentd/kitchen/event")
        return [json.loads(text)["intent"] for text in found]

    def availability(self) -> list[str]:
        return self.subscriber.payloads("intentd/kitchen/availability")

    def scraped(self) -> dict[str, float]:
        """Events by intent; empty if there are no metrics."""
        try:
            url = f"http://127.0.0.1:{self.metrics_port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        return {
            sample.labels["intent"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "intentd_events_total"
        }

    def spoken(self) -> list[str]:
        path = self.folder / "spoken"
        return path.read_text().split() if path.exists() else []

    def stop(self) -> None:
        self.subscriber.stop()
        self.broker.kill()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.stop()


def silence(folder: Path, seconds: float) -> str:
    soundfile.write(folder / "silence.wav", np.zeros(round(seconds * 16000), np.float32), 16000)
    return "silence.wav"


def test_the_demos_events_reach_every_output_once_and_in_order(house: House) -> None:
    house.settings("command", "mqtt", "webhook", "metrics")
    # The silence goes on after the demo, so that its end can be scraped.
    process = house.replay("--demo", silence(house.folder, 40.0))
    assert until(lambda: sum(house.scraped().values()) == 7, 200), process.poll()
    assert {intent for intent, count in house.scraped().items() if count} == set(DEMO)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [line for line in errors.splitlines() if "silence.wav" not in line] == []
    assert house.spoken() == house.published() == house.posted == DEMO
    assert house.availability() == ["online", "offline"]


def test_each_output_is_switched_on_changed_and_off_by_sighup(house: House) -> None:
    house.settings()
    process = house.replay(silence(house.folder, 600.0))

    def reload(*outputs: str) -> None:
        house.settings(*outputs)
        process.send_signal(signal.SIGHUP)

    try:
        lines = _lines_of(process)
        assert until(lambda: _catches_sighup(process), 200)
        reload("mqtt", "metrics", "command", "webhook")
        assert until(lambda: house.availability() == ["online"])
        assert until(lambda: house.scraped() != {})
        assert until(lambda: any("settings reloaded: output.mqtt" in line for line in lines))
        other = free_port()
        house.metrics_port, before = other, house.metrics_port
        reload("mqtt", "metrics", "command")
        assert until(lambda: house.scraped() != {})
        assert until(lambda: socket.socket().connect_ex(("127.0.0.1", before)) != 0)
        assert house.availability() == ["online"]  # what did not change stays as it was
        house.metrics_host = "0.0.0.0"  # with the port that the old address still has
        reload("mqtt", "metrics", "command")
        assert until(lambda: any("can be read by others in the network" in line for line in lines))
        assert until(lambda: house.scraped() != {})
        house.metrics_host = "192.0.2.1"  # of no machine (RFC 5737)
        reload("mqtt", "metrics", "command")
        assert until(lambda: any("192.0.2.1" in line for line in lines))
        assert until(lambda: house.scraped() != {})
        reload("command")
        assert until(lambda: house.availability() == ["online", "offline"])
        assert until(lambda: house.scraped() == {})
        (house.folder / "config.toml").write_text('[on.nobody]\nrun = ["true"]\n')
        process.send_signal(signal.SIGHUP)
        assert until(lambda: any("nothing was reloaded" in line for line in lines))
    finally:
        process.terminate()
        process.wait(30)
    assert process.returncode == 0


def _lines_of(process: subprocess.Popen[str]) -> list[str]:
    """What it says on stderr, as it says it."""
    lines: list[str] = []
    assert process.stderr is not None
    stderr = process.stderr

    def read() -> None:
        for line in stderr:
            lines.append(line)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _catches_sighup(process: subprocess.Popen[str]) -> bool:
    """Whether the run has begun; before, SIGHUP ends the process."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (signal.SIGHUP - 1) & 1)
