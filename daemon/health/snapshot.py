"""A running daemon at one moment, as JSON and as lines for people. Pure."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.base.text import screen_text, utf8_text
from daemon.output.base import OutputHealth

DEAF_SECONDS = 2.0
"""Without sound for longer than this, a live stream is not healthy."""


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """Health of one stream: counts in source samples, times in seconds.

    Counts are from its beginning.
    """

    name: str
    rate: int
    live: bool
    going: bool
    """False once it has ended."""
    seconds: float
    """Stream time processed so far."""
    windows: int
    gated: int
    events: int
    samples_captured: int
    samples_classified: int
    samples_gated: int
    samples_lost: int
    waiting: float
    """Sound in the ring that was not processed yet."""
    last_audio_age: float | None
    """Since the arrival of the newest sound that was processed; None before any was."""
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    level_dbfs: float | None = None
    """RMS of the last second; None before there is one."""
    rejected: int | None = None
    """Candidates for events that the verifier rejected; None without a verifier."""
    client: bool = False
    """Sent by a client, which may pause."""


@dataclass(frozen=True, slots=True)
class Health:
    """One daemon. Times in seconds."""

    pid: int
    version: str
    uptime: float
    model: str
    backend: str
    paused: bool
    load: float | None
    """Work for a second of sound."""
    lag: float
    """How far the worker is behind live sound."""
    lag_limit: float
    """The lag that is worth a warning."""
    busy: float | None
    """Since when the model has been at work on one batch; None between batches."""
    streams: tuple[StreamHealth, ...]
    switched_off: tuple[str, ...] = ()
    """Outputs that can't be written at this moment, and why, a sentence each."""
    outputs: tuple[OutputHealth, ...] = ()
    listening: tuple[str, ...] = ()
    """Addresses at which clients are listened to."""
    clients: int = 0
    """How many of them are connected."""
    seconds_gone: float = 0.0
    """Stream time of clients' streams that have ended."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems, a sentence each; empty if the daemon is healthy."""
        found = []
        for stream in self.streams:
            if not (stream.live and stream.going) or stream.client or self.paused:
                continue
            age = self.uptime if stream.last_audio_age is None else stream.last_audio_age
            if age > DEAF_SECONDS:
                found.append(f"{stream.name}: no sound for {age:.1f} s")
        if self.lag > self.lag_limit:
            found.append(f"the model is {self.lag:.1f} s behind the sound")
        if self.busy is not None and self.busy > max(DEAF_SECONDS, self.lag_limit):
            found.append(f"the model has been at one batch for {self.busy:.1f} s")
        return (*found, *self.switched_off)

    def to_json(self) -> bytes:
        """One line."""
        content = dataclasses.asdict(self)
        content = {"healthy": not self.problems, "problems": self.problems, **content}
        return json.dumps(_strict(content), ensure_ascii=False).encode() + b"\n"


def text(report: Mapping[str, Any]) -> str:
    """The object of `to_json` as text for people."""
    head = "healthy" if report["healthy"] else "not healthy"
    lines = [
        f"{head}, up {duration(report['uptime'])}, process {report['pid']}, "
        f"intentd {screen_text(str(report['version']))}"
    ]
    lines += [f"  {screen_text(str(problem))}" for problem in report["problems"]]
    load = "unknown" if report["load"] is None else f"{report['load']:.3f} s"
    lines.append(
        f"  model {screen_text(str(report['model']))} ({screen_text(str(report['backend']))}), "
        f"{load} of work for a second of sound, {report['lag']:.2f} s behind"
        f"{', paused' if report['paused'] else ''}"
    )
    if report.get("listening"):
        where = ", ".join(screen_text(str(address)) for address in report["listening"])
        count = report["clients"]
        lines.append(f"  listens to clients at {where}: {count or 'none'} connected")
    for stream in report["streams"]:
        age = stream["last_audio_age"]
        last = "no sound yet" if age is None else f"last sound {age:.2f} s ago"
        rejected = stream.get("rejected")
        state = last if stream["going"] else "ended"
        lines += [
            f"  {screen_text(str(stream['name']))}: {stream['rate']} Hz, {state}, "
            f"{stream['waiting']:.2f} s waiting",
            f"    {duration(stream['seconds'])} of sound, {stream['windows']} windows "
            f"({stream['gated']} without speech), {stream['events']} events"
            + ("" if rejected is None else f", {rejected} rejected by the verifier"),
            f"    {stream['samples_captured']} samples captured, {stream['samples_classified']} "
            f"classified, {stream['samples_gated']} gated, {stream['samples_lost']} lost",
            f"    latency p50 {_ms(stream['latency_p50_ms'])}, p99 {_ms(stream['latency_p99_ms'])}",
        ]
    for output in report.get("outputs", ()):
        if output["state"]:
            lost = f", {output['lost']} lost" if output["lost"] else ""
            waiting = f", {output['waiting']} waiting" if output["waiting"] else ""
            lines.append(
                f"  {screen_text(str(output['name']))}: {screen_text(str(output['state']))}"
                f"{waiting}{lost}"
            )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 07 min, 4 d 03 h."""
    whole = int(seconds)
    for unit, size, lower, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part:02d} {lower}"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"


def _strict(value: Any) -> Any:
    """Without what JSON or UTF-8 has no way to say."""
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, str):
        return utf8_text(value)
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
