"""Metrics: counts, promtool, Prometheus, and clients that do harm."""

from __future__ import annotations

import gc
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.demo import DEMO
from support.run_controls import Controls, free_port

from daemon.base.errors import UserError
from daemon.messages import Event, Gap, Message, Prediction, RunInfo
from daemon.output.metrics.output import Metrics
from daemon.output.metrics.server import IDLE_SECONDS, MOST_CONNECTIONS

ROOT = Path(__file__).resolve().parents[2]
RUN = RunInfo((), ("left", "right", "unknown"), frozenset({"unknown"}), (), "m", "b", 1.0, 0.24)
ROLLING = np.zeros(3, np.float32)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def metrics(port: int) -> Iterator[Metrics]:
    output = Metrics(f"127.0.0.1:{port}", Controls())
    output.open(RUN)
    yield output
    output.close()


def scrape(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def samples(text: str) -> dict[str, float]:
    """name{labels} to value."""
    return {
        sample.name
        + "".join(f"{{{k}={v}}}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def prediction(latency_ms: float | None) -> Prediction:
    scores = None if latency_ms is None else ROLLING
    return Prediction("mic", 0.0, 1.0, latency_ms is None, scores, ROLLING, latency_ms)


MESSAGES: tuple[Message, ...] = (
    *(prediction(ms) for ms in (4.0, 30.0, 30.0, None)),
    *(Event("mic", intent, 0.0, 1.0, 0.9, 1.0) for intent in ("left", "left")),
    *(Gap("mic", 0.0, 1.0, samples, "device lost") for samples in (100, 20)),
    Gap("mic", 0.0, 1.0, 7, "shed"),
)


def test_what_is_counted_can_be_scraped(metrics: Metrics, port: int) -> None:
    for message in MESSAGES:
        metrics.publish(message)
    found = samples(scrape(port))
    assert {name: found[name] for name in found if name.startswith("intentd_")} == {
        "intentd_events_total{intent=left}": 2, "intentd_events_total{intent=right}": 0,
        "intentd_windows_total": 4, "intentd_windows_gated_total": 1,
        "intentd_samples_lost_total{reason=device lost}": 120,
        "intentd_samples_lost_total{reason=shed}": 7,
        **{
            f"intentd_samples_lost_total{{reason={reason}}}": 0
            for reason in ("hole", "overflow", "paused", "stopped")
        },
        "intentd_outages_total": 2,
        **{
            f"intentd_latency_seconds_bucket{{le={bound}}}": count
            for bound, count in {
                "0.005": 1, "0.01": 1, "0.025": 1, "0.05": 3, "0.1": 3, "0.25": 3, "0.5": 3,
                "1.0": 3, "2.5": 3, "5.0": 3, "10.0": 3, "+Inf": 3,
            }.items()
        },
        "intentd_latency_seconds_count": 3, "intentd_latency_seconds_sum": pytest.approx(0.064),
        'intentd_info{backend=torch}{model=odd"\nmodel}{version=1.2}': 1,
        "intentd_sound_seconds_total": 60.5, "intentd_healthy": 1, "intentd_paused": 0,
        "intentd_streams": 1, "intentd_lag_seconds": 0.25, "intentd_uptime_seconds": 12.5,
        "intentd_load_ratio": 0.05,
        "intentd_output_working{output=MQTT}": 0,
        "intentd_output_messages_lost_total{output=MQTT}": 3,
    }  # fmt: skip
    assert metrics.state == "scraped 1 times"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of prometheus")
def test_promtool_finds_no_fault(metrics: Metrics, port: int) -> None:
    for message in MESSAGES:
        metrics.publish(message)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape(port), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_address_that_is_none_or_is_taken_is_refused(metrics: Metrics, port: int) -> None:
    for wrong in ("9464", "127.0.0.1", "127.0.0.1:", ":9464", "http://127.0.0.1:1", "a:99999"):
        with pytest.raises(UserError, match=r"output\.metrics is .*must be an address and a port"):
            Metrics(wrong, Controls())
    with pytest.raises(UserError, match="can't be listened at"):
        Metrics(f"127.0.0.1:{port}", Controls()).open(RUN)


def test_an_address_that_others_reach_is_said_aloud() -> None:
    for host, warned in (("127.0.0.1", 0), ("localhost", 0), ("0.0.0.0", 1)):
        controls = Controls()
        output = Metrics(f"{host}:{free_port()}", controls)
        output.open(RUN)
        output.close()
        assert len(controls.warnings) == warned


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.config import Settings
    from daemon.output.base import OutputContext
    from daemon.output.metrics import factory

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "daemon.output.metrics.output")
    settings = Settings.model_validate({"output": {"metrics": "127.0.0.1:1"}})
    with pytest.raises(
        UserError, match=r"needs prometheus-client.*pip install 'intentd\[metrics\]'"
    ):
        factory.make(OutputContext(settings, Controls()))


# ---- clients ------------------------------------------------------------------------------------


def rubbish(draw: random.Random) -> bytes:
    """One malformed conversation."""
    good = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"
    at = draw.randrange(len(good))
    method = draw.choice([b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"\xff", b"PRI"])
    accept = draw.choice([b"application/openmetrics-text;version=9", b"*/*;q=x", b"\0,"])
    return draw.choice(
        [
            draw.randbytes(draw.randrange(300)),
            good[:at],
            good[:at] + draw.randbytes(1 + draw.randrange(9)) + good[at + 1 :],
            b"GET /" + b"a" * draw.choice([100, 65530, 200_000]) + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * draw.randrange(300) + b"\r\n",
            method + b" /metrics?name[]=%ff&" + draw.randbytes(9) + b" HTTP/9.9\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc",
            b"GET / HTTP/1.0\r\nAccept: " + accept + b"\r\nAccept-Encoding: gzip\r\n\r\n",
        ]
    )


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.waits
def test_two_thousand_malformed_conversations_leave_nothing_behind(
    metrics: Metrics, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(20)
    scrape(port)
    gc.collect()
    threads, files = threading.active_count(), descriptors()
    for number in range(2000):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            try:
                client.sendall(rubbish(draw))
                if number % 3:
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass
            except OSError:  # it may hang up on us
                continue
        if number % 500 == 499:
            assert "intentd_windows_total" in scrape(port)
    end = time.monotonic() + 2 * IDLE_SECONDS
    while (threading.active_count() > threads or descriptors() > files) and time.monotonic() < end:
        time.sleep(0.05)
    assert threading.active_count() <= threads and descriptors() <= files
    assert "intentd_windows_total" in scrape(port)
    said = capfd.readouterr()
    assert said.out == said.err == ""


@pytest.mark.waits
def test_clients_that_stall_hold_up_nobody_for_long(metrics: Metrics, port: int) -> None:
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MOST_CONNECTIONS)]
    for client in stalled:
        client.settimeout(3 * IDLE_SECONDS)
    begun = time.monotonic()
    for client in stalled:
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            continue
    assert time.monotonic() - begun < 2 * IDLE_SECONDS + 5
    assert "intentd_windows_total" in scrape(port)
    for client in stalled:
        client.close()


# ---- the real thing -----------------------------------------------------------------------------


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.waits
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus")
def test_prometheus_sees_the_events_of_the_demo(tmp_path: Path) -> None:
    """A replay at its own pace, scraped until its end by a real Prometheus."""
    port, web = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: intentd\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    )
    prometheus = subprocess.Popen(
        [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{web}", "--log.level=error",
        ],
        cwd=tmp_path,
    )  # fmt: skip
    try:
        replay = subprocess.run(
            [
                *(sys.executable, "-m", "daemon", "replay", "--demo", "--headless"),
                *("--set", f"output.metrics=127.0.0.1:{port}"),
                # The last scrape must come before the end: a silent second recording goes on.
                _silence(tmp_path / "silence.wav"),
            ],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=False, timeout=240,
        )  # fmt: skip
        assert replay.returncode == 0, replay.stderr

        def query(expression: str) -> dict[str, float]:
            import json
            from urllib.parse import quote

            url = f"http://127.0.0.1:{web}/api/v1/query?query={quote(expression)}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
            return {each["metric"].get("intent", ""): float(each["value"][1]) for each in found}

        def counts() -> dict[str, float]:
            return query("max_over_time(intentd_events_total[5m])")

        assert until(lambda: sum(counts().values()) == 7, 20), counts()
        spoken = {intent for intent, count in counts().items() if count == 1}
        assert spoken == set(DEMO)
        assert query("max_over_time(intentd_windows_total[5m])")[""] > 125
    finally:
        prometheus.terminate()
        prometheus.wait(20)


def _silence(path: Path) -> str:
    import soundfile

    soundfile.write(path, np.zeros(36 * 16000, np.float32), 16000)
    return path.name


def test_the_panels_and_alerts_of_the_documentation_ask_for_metrics_that_exist(
    metrics: Metrics, port: int, tmp_path: Path
) -> None:
    import json
    import re

    board = json.loads((ROOT / "docs" / "grafana.json").read_text())
    page = (ROOT / "docs" / "metrics.md").read_text()
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += re.findall(r"expr: (.*)", page) + re.findall(r"^\| (`intentd.*?) \|", page, re.M)
    metrics.publish(prediction(3.0))
    known = {name.split("{")[0] for name in samples(scrape(port))}
    named = {name for text in asked for name in re.findall(r"intentd_[a-z_]+", text)}
    assert len(named) > 15
    assert named - {"intentd_latency_seconds"} <= known
