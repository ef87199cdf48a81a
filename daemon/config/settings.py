"""Every setting, once: type, default, range and comment.

The commented config.toml, the sentences about wrong values, and what text from the shell is read
as are all made from these classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from daemon.messages import LINE_TYPES, MESSAGE_KINDS

if TYPE_CHECKING:
    LineType = str
else:
    LineType = Literal[LINE_TYPES]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A probability, or a fraction of something."""

EVERY_INTENT: Final = "*"
"""In place of an intent in [on]."""


def _without_credentials(target: str) -> str:
    """Refuse a user or password in a URL, which would be shown.

    It would be shown wherever the setting is.
    """
    if "@" in target.rsplit("//", maxsplit=1)[-1].split("/", maxsplit=1)[0]:
        raise PydanticCustomError("credentials", "a password")
    return target


Target = Annotated[str, AfterValidator(_without_credentials)]
"""Where an output leads in the network."""

_CONTROLS: Final = r"\x00-\x1f\x7f-\x9f"
"""Characters at which a broker may end the connection (MQTT 3.1.1, 1.5.3)."""

WINDOW_SECONDS: Final = 1.0
HOP_SECONDS: Final = 0.24
"""Twelve frames of Wav2Vec2's encoder, so that windows that overlap lie on one grid of frames."""


def setting(
    default: Any,
    *,
    unit: str = "",
    note: str = "",
    allowed: str = "",
    secret: str = "",
    at_most: tuple[str, str] | None = None,
    from_model: bool = False,
    **limits: Any,
) -> Any:
    """A key of config.toml; the docstring below it becomes its comment there.

    Args:
        unit: of its number.
        note: ends the sentence on what it may be, in parentheses.
        allowed: what it may be, where type and limits don't say it.
        secret: the environment's variable in place of the file that it names, which holds a secret.
        at_most: another key that it must not exceed, and what would happen ("end speech before
            it begins").
        from_model: a model may bring it along in its `intentd` key.
        limits: pydantic's (ge, gt, le, min_length).
    """
    extra: JsonDict = {"unit": unit, "note": note, "allowed": allowed}
    extra |= {"secret": secret, "from_model": from_model}
    if at_most is not None:
        extra["at_most"] = list(at_most)
    if isinstance(default, dict):
        return Field(default_factory=lambda: dict(default), json_schema_extra=extra, **limits)
    return Field(default=default, json_schema_extra=extra, **limits)


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class AudioSettings(Section):
    """The audio input."""

    device: str | int = setting(
        "", allowed="an input's index, or part of its name in quotes (\"\" is the system's default)"
    )
    """The microphone: its index, or part of its name ("USB"); "" is the system's default."""
    rate: Literal[0] | Annotated[int, Field(ge=1000, le=384_000)] = setting(
        0, unit="Hz", note="0: 16000 if the device can, else its own"
    )
    """Samples a second, Hz; 0 opens at 16000 if the device can, else at its own rate."""
    channel: Literal["mix"] | Annotated[int, Field(ge=1, le=512)] = setting(
        "mix", note="a channel, counted from 1"
    )
    """"mix" averages the channels; a number picks one, counted from 1."""
    block_ms: float = setting(50.0, unit="ms", ge=0.5, le=1000.0)
    """Length of a block of sound, ms, from the device or from a recording; no result depends on
    it."""
    buffer_seconds: float = setting(5.0, unit="s", ge=1.0, le=60.0)
    """Sound that may wait for the model, s; live, what is older is shed and counted."""
    wait_for_device: bool = setting(False)
    """true: start without the microphone and wait until it appears."""
    follow_default: bool = setting(False)
    """true: after the loss of the microphone listen to the system's default, whichever it is."""


class WindowSettings(Section):
    """Length and distance of windows."""

    seconds: float = setting(WINDOW_SECONDS, unit="s", from_model=True, ge=0.1, le=30.0)
    """Length of a window, s."""
    hop: float = setting(
        HOP_SECONDS,
        unit="s",
        at_most=("window.seconds", "leave sound unheard"),
        from_model=True,
        ge=0.02,
        le=30.0,
    )
    """From the start of one window to the start of the next, s."""
    widest_hop: float = setting(
        0.0,
        allowed="0 (the hop stays) or window.hop to window.seconds",
        at_most=("window.seconds", "leave sound unheard"),
        ge=0.0,
        le=30.0,
    )
    """Live: how far the hop may widen by itself while the model can't keep up, s; 0 leaves it
    alone."""


class GateSettings(Section):
    """Voice activity detection."""

    kind: Literal["silero", "energy", "off"] = setting("silero", from_model=True)
    """Detector of speech, so that only speech costs model time: "silero", "energy", "off"."""
    on: Share = setting(0.5, from_model=True)
    """Speech begins at this probability, 0 to 1."""
    off: Share = setting(0.35, at_most=("gate.on", "end speech before it begins"), from_model=True)
    """Speech goes on down to this probability, 0 to gate.on."""
    min_silence: float = setting(0.3, unit="s", from_model=True, ge=0.0, le=10.0)
    """Silence that ends speech, s."""
    pre_roll: float = setting(0.3, unit="s", from_model=True, ge=0.0, le=5.0)
    """Sound before the beginning that still counts as speech, s."""


class ModelSettings(Section):
    """The model and its backend."""

    path: str = setting(
        "",
        allowed='a directory or hub id in quotes ("" is the model that comes with intentd)',
    )
    """A model's directory or hub id; "" is the model that comes with intentd."""
    verifier: str = setting(
        "auto", allowed='"auto", "off", or a verifier\'s folder in quotes', min_length=1
    )
    """Second, larger network that is asked before an event fires: "auto" is the model's own, if it
    has one; "off", or a folder."""
    backend: str = setting(
        "auto", allowed='the name of a backend in quotes, or "auto"', min_length=1
    )
    """Runtime of the model; "auto" takes the fastest one installed."""
    threads: int = setting(
        0, note="0: one for a small model, else one a core, at most 4", ge=0, le=256
    )
    """Threads of the model; 0 is one for a small model, else one a core, at most 4."""
    max_batch: int = setting(16, unit="windows", ge=1, le=256)
    """Windows that are classified at once, at most."""
    hang_seconds: float = setting(30.0, unit="s", ge=1.0, le=3600.0)
    """A model that gives no result for this long has hung, s; intentd then ends with status 1."""


class RollingSettings(Section):
    """Smoothing of the scores of windows."""

    windows: int = setting(3, unit="windows", from_model=True, ge=1, le=1000)
    """Windows whose scores are averaged; models of words only."""
    forgetting: float = setting(1.0, note="1 forgets nothing", from_model=True, gt=0.0, le=1.0)
    """Factor on older windows' evidence with each hop, above 0 to 1; models of utterances only."""
    max_seconds: float = setting(15.0, unit="s", from_model=True, ge=1.0, le=600.0)
    """Longest utterance, s; what follows it is another one."""


class EventSettings(Section):
    """Detection of events."""

    threshold: Share = setting(0.7, from_model=True)
    """Smoothed posterior, 0 to 1, at which an intent that is not in thresholds counts as
    spoken."""
    release: Share = setting(0.6, note="a fraction of the threshold", from_model=True)
    """An event is over below this fraction of its threshold, 0 to 1."""
    min_duration: float = setting(0.0, unit="s", from_model=True, ge=0.0, le=60.0)
    """Time that the posterior must stay up before the event, s; 0 fires at once."""
    refractory: float = setting(1.0, unit="s", from_model=True, ge=0.0, le=3600.0)
    """The same intent is not reported again for this long after an event, s."""
    thresholds: dict[str, Share] = setting({}, from_model=True)
    """Thresholds of single intents, 0 to 1, for example {yes = 0.8, no = 0.9}; the bundled model
    has all."""

    def of(self, label: str) -> float:
        """The threshold of a label."""
        return self.thresholds.get(label, self.threshold)


class OutputSettings(Section):
    """The outputs."""

    jsonl: str = setting(
        "", allowed='a file\'s path in quotes, "-" for standard output, or "" for none'
    )
    """JSON lines go to this file; "-" is standard output, "" is none."""
    types: list[LineType] = setting(
        [kind.name for kind in MESSAGE_KINDS if kind.json_line and kind.by_default], min_length=1
    )
    """Types of lines that are written; most lines are predictions. "start" tells when a live run
    began."""
    mqtt: Target = setting(
        "", allowed='host and port of a broker, "localhost:1883", or "" for none'
    )
    """Events go to this MQTT broker, for example "localhost:1883"; "" is none. See [mqtt]."""
    webhook: Target = setting("", allowed='a URL, "https://host/path", or "" for none')
    """Events are posted to this URL; "" is none. See [webhook]."""
    metrics: str = setting("", allowed='an address with its port, "127.0.0.1:9464", or "" for none')
    """Prometheus scrapes here, for example "127.0.0.1:9464"; "" is nowhere."""
    headless: bool = setting(False)
    """true: plain lines in place of the dashboard, also on a terminal."""
    log: str = setting("", allowed="a file's path in quotes (\"\" is the user's log folder)")
    """File for stderr while the dashboard is up; "" is intentd.log in the user's log folder."""
    lag_warning: float = setting(0.5, unit="s", ge=0.1, le=60.0)
    """Live: how far behind the microphone is worth a warning, s."""


class ActionSettings(Section):
    """What to do when one intent is spoken."""

    run: list[str] = setting(
        [],
        allowed='a list of a program and its arguments in quotes, ["notify-send", "left"]',
        min_length=1,
    )
    """The program and its arguments."""
    shell: bool = setting(False)
    """true: the first word of `run` is a line for the shell, further words are its $1, $2, …"""

    @model_validator(mode="after")
    def _program(self) -> Self:
        """Refuse a table that runs nothing, and what no program can be given."""
        if not self.run or not self.run[0].strip() or any("\0" in word for word in self.run):
            raise PydanticCustomError("nothing_to_run", "nothing to run")
        return self


class OnSettings(Section):
    """Commands by intent; "*" stands for every intent."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ActionSettings] = Field(init=False)

    @property
    def actions(self) -> Mapping[str, ActionSettings]:
        """Intent, or "*", to what is done."""
        return self.__pydantic_extra__ or {}

    def __bool__(self) -> bool:
        return bool(self.actions)


class CommandSettings(Section):
    """Limits of the commands of [on]."""

    parallel: int = setting(4, unit="commands", ge=1, le=64)
    """Commands that run at the same time, at most."""
    queue: int = setting(64, unit="events", ge=1, le=8192)
    """Events that wait for that, at most; live, further ones are dropped and counted."""
    timeout: float = setting(10.0, unit="s", ge=0.1, le=3600.0)
    """A command that runs longer is ended, s."""


class MqttSettings(Section):
    """How a broker is used."""

    topic: str = setting(
        "intentd",
        allowed="a topic without + and #, in quotes",
        pattern=rf"^[^+#/{_CONTROLS}][^+#{_CONTROLS}]*$",
    )
    """Topics begin with this, then comes the name, for example intentd/kitchen/event."""
    name: str = setting(
        "", allowed="a name without / + and #, in quotes", pattern=rf"^[^/+#{_CONTROLS}]*$"
    )
    """Name of this daemon in topics and in Home Assistant; "" is the host's name."""
    user: str = setting(
        "", allowed='a name in quotes, or "" for none', pattern=rf"^[^{_CONTROLS}]*$"
    )
    """User at the broker; "" is none."""
    password_file: str = setting(
        "", allowed="a file's path in quotes", secret="INTENTD_MQTT_PASSWORD"
    )
    """File with the password; "" takes the variable INTENTD_MQTT_PASSWORD, if there is one."""
    tls: bool = setting(False)
    """true: encrypted, as on port 8883."""
    ca_file: str = setting("", allowed="a file's path in quotes")
    """Certificates (PEM) to trust; "" is the system's."""
    discovery: str = setting(
        "homeassistant",
        allowed='a topic in quotes, or "" for none',
        pattern=rf"^[^+#{_CONTROLS}]*$",
    )
    """Home Assistant looks for devices below this topic; "" announces nothing."""
    interval: float = setting(10.0, unit="s", ge=1.0, le=3600.0)
    """How often the state is published, s."""
    queue: int = setting(1000, unit="events", ge=1, le=8192)
    """Events that wait for a broker that is away, at most; further ones are dropped and counted."""


class WebhookSettings(Section):
    """How events are posted."""

    secret_file: str = setting(
        "", allowed="a file's path in quotes", secret="INTENTD_WEBHOOK_SECRET"
    )
    """File with the secret that signs; "" takes the variable INTENTD_WEBHOOK_SECRET, if there is
    one."""
    token_file: str = setting("", allowed="a file's path in quotes", secret="INTENTD_WEBHOOK_TOKEN")
    """File with a bearer token; "" takes the variable INTENTD_WEBHOOK_TOKEN, if there is one."""
    ca_file: str = setting("", allowed="a file's path in quotes")
    """Certificates (PEM) to trust; "" is the system's."""
    timeout: float = setting(5.0, unit="s", ge=0.1, le=60.0)
    """Longest time of one attempt, s."""
    keep: float = setting(60.0, unit="s", ge=0.0, le=86_400.0)
    """How long an event is tried before it is dropped and counted, s."""
    queue: int = setting(1000, unit="events", ge=1, le=8192)
    """Events that wait, at most; live, further ones are dropped and counted."""


class ServeSettings(Section):
    """Listening to clients."""

    listen: list[str] = setting(
        [],
        allowed="a list of addresses in quotes, tcp://HOST:PORT, unix:///PATH (the Wyoming "
        "protocol) or http://HOST:PORT (browsers)",
    )
    """Addresses at which clients may send sound, beside the microphone: tcp://127.0.0.1:10400 and
    unix:///PATH take the Wyoming protocol, http://127.0.0.1:10480 is a page for browsers."""
    token_file: str = setting("", allowed="a file's path in quotes")
    """File whose first line browsers must know, as http://HOST:PORT/#token=…; without one, another
    address than this machine's gets a token for the run, which is said when it starts."""
    clients: int = setting(64, unit="clients", ge=1, le=1000)
    """Clients that may be connected at once, at most."""


class Settings(Section):
    """All settings of a run, made by `load_settings`.

    From files, variables and options.
    """

    audio: AudioSettings = AudioSettings()
    window: WindowSettings = WindowSettings()
    gate: GateSettings = GateSettings()
    model: ModelSettings = ModelSettings()
    rolling: RollingSettings = RollingSettings()
    events: EventSettings = EventSettings()
    output: OutputSettings = OutputSettings()
    on: OnSettings = OnSettings()
    command: CommandSettings = CommandSettings()
    mqtt: MqttSettings = MqttSettings()
    webhook: WebhookSettings = WebhookSettings()
    serve: ServeSettings = ServeSettings()
