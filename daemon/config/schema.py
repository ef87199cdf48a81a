"""Every setting with its type, default and the values it may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from daemon.messages import LINE_TYPES, MESSAGE_KINDS

if TYPE_CHECKING:
    LineType = str
else:
    LineType = Literal[LINE_TYPES]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A probability, or a fraction of something."""


def _key(default: Any, allowed: str, *, from_model: bool = False, **limits: Any) -> Any:
    """A setting: `allowed` completes the sentence "it must be …"; `from_model` marks those that a
    model may bring along in its `intentd` key."""
    extra: JsonDict = {"allowed": allowed, "from_model": from_model}
    if isinstance(default, dict):
        return Field(default_factory=lambda: dict(default), json_schema_extra=extra, **limits)
    return Field(default=default, json_schema_extra=extra, **limits)


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class AudioSettings(Section):
    device: str | int = _key(
        "", "an input's index, or part of its name in quotes (\"\" is the system's default)"
    )
    rate: Literal[0] | Annotated[int, Field(ge=1000, le=384_000)] = _key(
        0, "0 (16000 if the device can, else its own) or 1000 to 384000 Hz"
    )
    channel: Literal["mix"] | Annotated[int, Field(ge=1, le=512)] = _key(
        "mix", '"mix" or the number of a channel, counted from 1'
    )
    block_ms: float = _key(50.0, "0.5 to 1000 ms", ge=0.5, le=1000.0)
    buffer_seconds: float = _key(5.0, "1 to 60 s", ge=1.0, le=60.0)
    wait_for_device: bool = _key(False, "true or false")
    follow_default: bool = _key(False, "true or false")


class WindowSettings(Section):
    seconds: float = _key(1.0, "0.1 to 30 s", from_model=True, ge=0.1, le=30.0)
    hop: float = _key(0.24, "0.02 s to the length of the window", from_model=True, ge=0.02, le=30.0)
    widest_hop: float = _key(
        0.0, "0 (the hop stays) or window.hop to the length of the window, s", ge=0.0, le=30.0
    )


class GateKeys(Section):
    kind: Literal["silero", "energy", "off"] = _key(
        "silero", '"silero", "energy" or "off"', from_model=True
    )
    on: Share = _key(0.5, "0 to 1", from_model=True)
    off: Share = _key(0.35, "0 to gate.on", from_model=True)
    min_silence: float = _key(0.3, "0 to 10 s", from_model=True, ge=0.0, le=10.0)
    pre_roll: float = _key(0.3, "0 to 5 s", from_model=True, ge=0.0, le=5.0)


class ModelSettings(Section):
    path: str = _key(
        "", 'a model\'s directory or hub id in quotes ("" is the model that comes with intentd)'
    )
    backend: str = _key("auto", 'the name of a backend in quotes, or "auto"', min_length=1)
    threads: int = _key(
        0, "0 (one for a small model, else one a core, at most 4) to 256", ge=0, le=256
    )
    max_batch: int = _key(16, "1 to 256 windows", ge=1, le=256)
    hang_seconds: float = _key(30.0, "1 to 3600 s", ge=1.0, le=3600.0)


class RollingKeys(Section):
    windows: int = _key(3, "1 to 1000 windows", from_model=True, ge=1, le=1000)
    forgetting: float = _key(
        1.0, "above 0, at most 1 (1 forgets nothing)", from_model=True, gt=0.0, le=1.0
    )
    max_seconds: float = _key(15.0, "1 to 600 s", from_model=True, ge=1.0, le=600.0)


class EventKeys(Section):
    threshold: Share = _key(0.7, "0 to 1", from_model=True)
    release: Share = _key(0.6, "0 to 1, a fraction of the threshold", from_model=True)
    min_duration: float = _key(0.0, "0 to 60 s", from_model=True, ge=0.0, le=60.0)
    refractory: float = _key(1.0, "0 to 3600 s", from_model=True, ge=0.0, le=3600.0)
    thresholds: dict[str, Share] = _key(
        {}, "a table of labels, each with a value from 0 to 1", from_model=True
    )


class OutputSettings(Section):
    jsonl: str = _key("", 'a file\'s path in quotes, "-" for standard output, or "" for none')
    types: list[LineType] = _key(
        [kind.name for kind in MESSAGE_KINDS if kind.json_line and kind.by_default],
        "a list with one or more of " + ", ".join(f'"{name}"' for name in LINE_TYPES),
        min_length=1,
    )
    headless: bool = _key(False, "true or false")
    log: str = _key("", "a file's path in quotes (\"\" is the user's log folder)")
    lag_warning: float = _key(0.5, "0.1 to 60 s", ge=0.1, le=60.0)


class Settings(Section):
    """All settings of a run. Raises nothing itself: build it with `load_settings`."""

    audio: AudioSettings = AudioSettings()
    window: WindowSettings = WindowSettings()
    gate: GateKeys = GateKeys()
    model: ModelSettings = ModelSettings()
    rolling: RollingKeys = RollingKeys()
    events: EventKeys = EventKeys()
    output: OutputSettings = OutputSettings()


def sections() -> dict[str, type[Section]]:
    """The tables of config.toml by name, in their order."""
    found: dict[str, type[Section]] = {}
    for name, field in Settings.model_fields.items():
        table = field.annotation
        assert isinstance(table, type) and issubclass(table, Section)
        found[name] = table
    return found


def keys() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every (section, key, field), in order."""
    for section, table in sections().items():
        for name, field in table.model_fields.items():
            yield section, name, field


def allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["allowed"])


def from_model(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return bool(extra["from_model"])
