"""What a run has counted, as metrics of Prometheus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, make_wsgi_app
from prometheus_client import disable_created_metrics as _disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from daemon.base.errors import UserError, os_reason
from daemon.base.network import is_loopback, split_address
from daemon.base.text import utf8_text, value_text
from daemon.messages import Event, Gap, Message, Prediction, RunInfo
from daemon.output.base import ActiveOutput, RunControls
from daemon.output.metrics.server import MetricsServer

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, s."""
GAP_REASONS = ("overflow", "hole", "device lost", "paused", "shed", "stopped")


class Metrics(ActiveOutput):
    """Counts messages and serves counts and health at `/metrics`."""

    takes: ClassVar[frozenset[type]] = frozenset({Prediction, Event, Gap})

    def __init__(self, address: str, controls: RunControls) -> None:
        """`address`: "host:port". Raises UserError if it is none."""
        self._host, _ = _parsed(address)
        self._address = address
        self._controls = controls
        self._server: MetricsServer | None = None
        self._scrapes = 0
        # It would be a second series for each counter, of no use to anybody.
        _disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._events = Counter(
            "intentd_events", "Intents that were spoken.", ["intent"], registry=registry
        )
        self._windows = Counter(
            "intentd_windows", "Windows of sound, gated ones included.", registry=registry
        )
        self._gated = Counter(
            "intentd_windows_gated", "Windows without speech, not classified.", registry=registry
        )
        self._lost = Counter(
            "intentd_samples_lost", "Samples of sound lost.", ["reason"], registry=registry
        )
        self._outages = Counter(
            "intentd_outages", "Times that the microphone was lost.", registry=registry
        )
        self._latency = Histogram(
            "intentd_latency_seconds",
            "From the arrival of the sound that completes a window to its prediction.",
            buckets=LATENCIES,
            registry=registry,
        )
        registry.register(_Health(controls))
        ProcessCollector(registry=registry)
        self._app = make_wsgi_app(registry)

    @property
    def name(self) -> str:
        return f"metrics at {self._address}"

    @property
    def state(self) -> str:
        return f"scraped {self._scrapes} times"

    def open(self, run: RunInfo) -> None:
        """Raises UserError if the address can't be listened at."""
        # A series that begins with 0 shows its first event as a change.
        for label in run.labels:
            if label not in run.non_intents:
                self._events.labels(utf8_text(label))
        for reason in GAP_REASONS:
            self._lost.labels(reason)
        self._server = listen(self._address, self._serve)
        self._server.serve()
        if not is_loopback(self._host):
            self._controls.warn(
                f"the metrics at {self._address} can be read by others in the network; "
                "127.0.0.1 keeps them on this machine"
            )

    def publish(self, message: Message) -> None:
        match message:
            case Prediction():
                self._windows.inc()
                if message.gated:
                    self._gated.inc()
                elif message.latency_ms is not None and math.isfinite(message.latency_ms):
                    self._latency.observe(message.latency_ms / 1000)
            case Event():
                self._events.labels(utf8_text(message.intent)).inc()
            case Gap():
                self._lost.labels(utf8_text(message.reason)).inc(message.samples_lost)
                self._outages.inc(message.reason == "device lost")

    def reopen(self) -> None:
        """Nothing to open again."""

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()

    def _serve(self, environ, start_response):  # type: ignore[no-untyped-def]  # as WSGI has it
        self._scrapes += 1
        return self._app(environ, start_response)


def listen(address: str, app: Callable[..., Any]) -> MetricsServer:
    """A server of `app` at "host:port", to be started.

    Raises: UserError if nobody can listen there.
    """
    try:
        return MetricsServer(*_parsed(address), app)
    except OSError as error:
        raise UserError(
            f"output.metrics is {address}, which can't be listened at ({os_reason(error)}); name "
            "another port, or an address of this machine"
        ) from None


def _parsed(address: str) -> tuple[str, int]:
    try:
        return split_address(address)
    except ValueError:
        raise UserError(
            f"output.metrics is {value_text(address)}; it must be an address and a port, "
            "for example 127.0.0.1:9464"
        ) from None


class _Health:
    """The run's health at the moment of a scrape."""

    def __init__(self, controls: RunControls) -> None:
        self._controls = controls

    def describe(self) -> Iterable[Metric]:
        """None: what `collect` gives is not known before the run has begun."""
        return ()

    def collect(self) -> Iterable[Metric]:
        health = self._controls.health()
        info = InfoMetricFamily("intentd", "The version and the model that run.")
        about = {"version": health.version, "model": health.model, "backend": health.backend}
        info.add_metric([], {key: utf8_text(value) for key, value in about.items()})
        yield info
        yield CounterMetricFamily(
            "intentd_sound_seconds",
            "Stream time processed.",
            value=health.seconds_gone + sum(stream.seconds for stream in health.streams),
        )
        gauges = (
            ("healthy", "1 if nothing is wrong.", float(not health.problems)),
            ("paused", "1 if listening is paused.", float(health.paused)),
            ("streams", "Streams that go on.", sum(stream.going for stream in health.streams)),
            ("lag_seconds", "How far the model is behind the sound.", health.lag),
            ("uptime_seconds", "Time since the start.", health.uptime),
        )
        for name, meaning, value in gauges:
            yield GaugeMetricFamily(f"intentd_{name}", meaning, value=value)
        if health.load is not None:
            yield GaugeMetricFamily(
                "intentd_load_ratio", "Seconds of work for a second of sound.", value=health.load
            )
        working = GaugeMetricFamily(
            "intentd_output_working", "0 if the output is switched off.", labels=["output"]
        )
        lost = CounterMetricFamily(
            "intentd_output_messages_lost", "Messages it did not get.", labels=["output"]
        )
        for output in health.outputs:
            working.add_metric([utf8_text(output.name)], float(output.working))
            lost.add_metric([utf8_text(output.name)], output.lost)
        yield working
        yield lost
