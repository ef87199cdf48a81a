"""A run and its messages as JSON lines from daemon to `intentd top`.

Both are of the same installation as a rule; a line of another version raises ValueError. The form
is not published: JSON lines are (see docs/output.md).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from daemon.messages import MESSAGE_KINDS, Message, RunInfo, StreamInfo, Verdict

_CLASSES: dict[str, type[Message]] = {kind.name: kind.message for kind in MESSAGE_KINDS}
_NAMES = {message: name for name, message in _CLASSES.items()}


def _scores(values: Any) -> Any:
    return None if values is None else np.asarray(values, np.float32)


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "scores": _scores,
    "rolling": _scores,
    "labels": tuple,
    "thresholds": tuple,
    "non_intents": frozenset,
    "top": lambda top: tuple(Verdict(**each) for each in top),
    "info": lambda info: StreamInfo(**info),
    "streams": lambda streams: tuple(StreamInfo(**each) for each in streams),
}
"""Fields that JSON has no type of."""


def encode(kind: str, **values: Any) -> bytes:
    """One line of `kind` with more values, which JSON must have types of."""
    return json.dumps({"kind": kind, **values}, separators=(",", ":")).encode() + b"\n"


def encode_message(message: Message, at: float) -> bytes:
    """A message that was published at `at`, in seconds of the run."""
    return encode(_NAMES[type(message)], at=round(at, 3), message=_plain(message))


def encode_run(run: RunInfo, **values: Any) -> bytes:
    """The run, which is the first line."""
    return encode("run", run=_plain(run), **values)


def decode(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """Decode a line to its kind and values.

    `message` and `run` are objects.

    Raises: ValueError if it is none.
    """
    values = json.loads(line)
    try:
        kind = values.pop("kind")
        if kind in _CLASSES:
            values["message"] = _object(_CLASSES[kind], values["message"])
        elif kind == "run":
            values["run"] = _object(RunInfo, values["run"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("no line of this version") from error
    return kind, values


def _plain(value: Any) -> Any:
    """What JSON can say; scores to four digits."""
    if isinstance(value, np.ndarray):
        return [round(float(each), 4) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _object(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{k: _FIELDS[k](v) if k in _FIELDS else v for k, v in values.items()})
