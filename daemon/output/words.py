"""Messages as short lines for people, on dashboard and in plain output."""

from __future__ import annotations

import math
from datetime import datetime

from daemon.base.text import screen_text
from daemon.messages import Event, Gap, Summary


def clock(seconds: float, decimals: int = 0) -> str:
    """Stream time as 0:07, 12:34 or 1:02:03 with `decimals`, rounded down."""
    if not math.isfinite(seconds):
        return "-:--"
    scale = 10**decimals
    # The nudge keeps 0.3 from being shown as 0.2, since 0.3 * 10 may lie just below 3.
    units = math.floor(max(0.0, seconds) * scale + 1e-6)
    whole, part = divmod(units, scale)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{text}.{part:0{decimals}d}" if decimals else text


def event_time(event: Event) -> str:
    """Time of day for a live event, its start in the stream for a recording.

    The start is that of the speech.
    """
    if event.at is not None:
        try:
            moment = datetime.fromisoformat(event.at)
        except ValueError:
            return screen_text(event.at)[:8]
        return moment.astimezone().strftime("%H:%M:%S")
    return clock(event.start, 2)


def event_line(event: Event, *, intent_width: int = 0, with_stream: bool = False) -> str:
    intent = screen_text(event.intent).ljust(intent_width)
    stream = f"  {screen_text(event.stream)}" if with_stream else ""
    score = event.score if event.verified is None else event.verified
    return f"{event_time(event):>8}  {intent}  {score:.2f}{stream}"


def gap_line(gap: Gap, count: int = 1) -> str:
    """One gap, or several of a stream and reason as one that spans them."""
    where = f"at {clock(gap.start, 2)}"
    if count > 1:
        where = f"in {count} gaps from {clock(gap.start, 2)} to {clock(gap.end, 2)}"
    reason = screen_text(gap.reason)
    return f"{screen_text(gap.stream)}: lost {gap.samples_lost} samples {where}: {reason}"


def summary_lines(summary: Summary) -> list[str]:
    """A summary in a few lines, the verdict first.

    Who classifies files looks for that.
    """
    name = screen_text(summary.stream)
    verdict = ", ".join(f"{screen_text(v.intent)} {v.score:.2f}" for v in summary.top[:3])
    windows = f"{summary.windows} windows, {summary.gated} of them without speech"
    latency = (
        f"latency p50 {milliseconds(summary.latency_p50_ms)}, "
        f"p99 {milliseconds(summary.latency_p99_ms)}"
    )
    samples = (
        f"{summary.samples_captured} samples captured: "
        f"{summary.samples_classified} classified, {summary.samples_gated} gated; "
        f"{summary.samples_lost} lost"
    )
    events = "1 event" if summary.events == 1 else f"{summary.events} events"
    if summary.rejected is not None:
        events += f", {summary.rejected} rejected by the verifier"
    return [
        f"{name}: {verdict or 'nothing to judge'}",
        f"  {summary.seconds:.2f} s, {windows}, {events}",
        f"  {latency}",
        f"  {samples}",
    ]


def milliseconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f} ms" if value >= 9.95 else f"{value:.1f} ms"
