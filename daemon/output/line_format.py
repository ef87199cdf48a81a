"""The published form of JSON lines: one object a line for a message."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from daemon.base.text import utf8_text
from daemon.messages import (
    Event,
    Gap,
    Message,
    Prediction,
    Rejection,
    Scores,
    Start,
    Summary,
)

_NAMES = 1024
"""Names of streams that are kept as JSON; clients bring ever more of them."""


class LineFormat:
    """Encodes messages as lines of JSON (UTF-8) for one set of labels.

    Each ends with a newline.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._intents = [_quoted(label) for label in labels]
        keys = [_quoted(label).replace("%", "%%") for label in labels]
        self._scores = "{" + ",".join(f"{key}:%.6f" for key in keys) + "}"
        self._any_scores = "{" + ",".join(f"{key}:%s" for key in keys) + "}"
        self._streams: dict[str, str] = {}
        self._formats: dict[type, Callable[[Any], str]] = {
            Start: self._start,
            Prediction: self._prediction,
            Event: self._event,
            Rejection: self._rejection,
            Gap: self._gap,
            Summary: self._summary,
        }

    def line(self, message: Message) -> bytes:
        """Raises KeyError for a message that is no line (a level or a status)."""
        return (self._formats[type(message)](message) + "\n").encode("utf-8")

    def _start(self, message: Start) -> str:
        labels = ",".join(map(_quoted, message.labels))
        return (
            f'{{"type":"start","stream":{self._stream(message.stream)},'
            f'"at":{_quoted(message.at)},"version":{_quoted(message.version)},'
            f'"model":{_quoted(message.model)},"labels":[{labels}],'
            f'"window":{_number(message.window)},"hop":{_number(message.hop)}}}'
        )

    def _prediction(self, message: Prediction) -> str:
        if message.gated or message.scores is None:
            intent = score = scores = latency = "null"
        else:
            top = int(message.rolling.argmax())
            intent, score = self._intents[top], _probability(float(message.rolling[top]))
            scores = self._labelled(message.scores)
            latency = _number(message.latency_ms, 2)
        return (
            f'{{"type":"prediction","stream":{self._stream(message.stream)},'
            f'"start":{_number(message.start)},"end":{_number(message.end)},'
            f'"intent":{intent},"score":{score},"scores":{scores},'
            f'"rolling":{self._labelled(message.rolling)},'
            f'"gated":{"true" if message.gated else "false"},"latency_ms":{latency}}}'
        )

    def _event(self, message: Event) -> str:
        more = "" if message.at is None else f',"at":{_quoted(message.at)}'
        if message.verified is not None:
            more += f',"verified":{_probability(message.verified)}'
        return (
            f'{{"type":"event","stream":{self._stream(message.stream)},'
            f'"intent":{_quoted(message.intent)},'
            f'"start":{_number(message.start)},"end":{_number(message.end)},'
            f'"score":{_probability(message.score)},'
            f'"at_stream":{_number(message.at_stream)}{more}}}'
        )

    def _rejection(self, message: Rejection) -> str:
        return (
            f'{{"type":"rejection","stream":{self._stream(message.stream)},'
            f'"intent":{_quoted(message.intent)},'
            f'"start":{_number(message.start)},"end":{_number(message.end)},'
            f'"score":{_probability(message.score)},'
            f'"at_stream":{_number(message.at_stream)},'
            f'"verified":{_probability(message.verified)}}}'
        )

    def _gap(self, message: Gap) -> str:
        return (
            f'{{"type":"gap","stream":{self._stream(message.stream)},'
            f'"start":{_number(message.start)},"end":{_number(message.end)},'
            f'"samples_lost":{message.samples_lost:d},"reason":{_quoted(message.reason)}}}'
        )

    def _summary(self, message: Summary) -> str:
        top = ",".join(
            f'{{"intent":{_quoted(verdict.intent)},"score":{_probability(verdict.score)}}}'
            for verdict in message.top
        )
        more = "" if message.rejected is None else f',"rejected":{message.rejected:d}'
        return (
            f'{{"type":"summary","stream":{self._stream(message.stream)},'
            f'"seconds":{_number(message.seconds)},"windows":{message.windows:d},'
            f'"gated":{message.gated:d},"events":{message.events:d},"top":[{top}],'
            f'"samples_captured":{message.samples_captured:d},'
            f'"samples_classified":{message.samples_classified:d},'
            f'"samples_gated":{message.samples_gated:d},'
            f'"samples_lost":{message.samples_lost:d},'
            f'"latency_ms":{{"p50":{_number(message.latency_p50_ms, 2)},'
            f'"p99":{_number(message.latency_p99_ms, 2)}}}{more}}}'
        )

    def _stream(self, name: str) -> str:
        quoted = self._streams.get(name)
        if quoted is None:
            if len(self._streams) >= _NAMES:
                self._streams.clear()
            quoted = self._streams[name] = _quoted(name)
        return quoted

    def _labelled(self, scores: Scores) -> str:
        values = scores.tolist()
        if math.isfinite(sum(values)):
            return self._scores % tuple(values)
        return self._any_scores % tuple(_probability(value) for value in values)


def _quoted(text: str) -> str:
    return json.dumps(utf8_text(text), ensure_ascii=False)


def _number(value: float | None, decimals: int = 3) -> str:
    # JSON has no NaN: what is not finite is not known.
    if value is None or not math.isfinite(value):
        return "null"
    return f"{value:.{decimals}f}"


def _probability(value: float) -> str:
    return _number(value, 6)
