"""`intentd live` with outputs in the network, status and pause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from support.broker import MOSQUITTO, Mosquitto, Subscriber, until
from support.demo import DEMO
from support.run_controls import free_port
from support.virtual_mic import VirtualMic, missing_packages

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
    ),
    pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto"),
]
ROOT = Path(__file__).resolve().parents[2]


def test_a_microphones_events_reach_the_outputs_and_status_shows_them(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, free_port())
    broker.start()
    subscriber = Subscriber(broker.port)
    metrics = free_port()

    def states() -> list[dict[str, Any]]:
        return [json.loads(text) for text in subscriber.payloads("intentd/hall/state")]

    with VirtualMic() as mic:
        env = mic.env | {
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
        }
        program = (sys.executable, "-m", "daemon")
        daemon = subprocess.Popen(
            [
                *(*program, "live", "--headless", "--on", "*=sh -c 'cat >> events'"),
                *("--set", f"output.mqtt=127.0.0.1:{broker.port}", "--set", "mqtt.name=hall"),
                *("--set", "mqtt.interval=1", "--set", f"output.metrics=127.0.0.1:{metrics}"),
                *("--set", "command.parallel=1"),
            ],
            cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert until(lambda: states() and states()[-1]["level_dbfs"] is not None, 120)
            mic.play(Path(str(files("daemon"))) / "bundled" / "demo.flac")
            assert until(lambda: len(subscriber.payloads("intentd/hall/event")) == 7, 60)
            status = subprocess.run(
                [*program, "status", "--json", "--pid", str(daemon.pid)],
                env=env, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            subscriber.publish("intentd/hall/pause/set", "ON")
            assert until(lambda: subscriber.payloads("intentd/hall/pause")[-1] == "ON")
            url = f"http://127.0.0.1:{metrics}/metrics"
            assert until(lambda: b"intentd_paused 1.0" in urllib.request.urlopen(url).read())
        finally:
            daemon.send_signal(signal.SIGTERM)
            _, errors = daemon.communicate(timeout=30)
            subscriber.stop()
            broker.kill()
    assert daemon.returncode == 0, errors
    found = {output["name"]: output for output in json.loads(status.stdout)["outputs"]}
    assert found[f"MQTT to 127.0.0.1:{broker.port}"]["state"] == (
        "connected as intentd/hall, 7 events"
    )
    assert found["commands"]["state"].startswith("7 ended, 0 of them failed")
    assert found[f"metrics at 127.0.0.1:{metrics}"]["working"] is True
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [event["intent"] for event in events] == DEMO
    assert all("at" in event for event in events)
    assert os.listdir(tmp_path / "intentd") == []  # noqa: PTH208 - the socket is gone
