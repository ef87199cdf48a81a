"""The table of outputs.

With one line here an output is built, exchanged on SIGHUP and known to the service's unit.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from daemon.base.network import address_families, host_of, port_of
from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.config.lookup import value_of
from daemon.output.base import Output, OutputContext

Factory = Callable[[OutputContext], Output | None]
Trial = Callable[[Settings], Outcome]
"""Tries whether an output could work, without any effect. Raises `UserError` where it could not."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One kind of output."""

    name: str
    """As messages to the user call it."""
    factory: str
    """"module:function" of a `Factory`, imported when it is called; it returns None where the
    settings ask for no such output."""
    trial: str = ""
    """"module:function" of a `Trial`, imported when it is called; empty, nothing can be tried."""
    switch: str = ""
    """The dotted key, or section, that names where the output leads; empty, there is no such
    output. Without a switch there always is one."""
    settings: tuple[str, ...] = ()
    """Dotted keys, or whole sections, beside `switch`. The output is replaced when SIGHUP finds one
    of them or `switch` changed."""
    needs_network: bool = False
    """`switch` is a host with its port, or a URL."""
    listens: bool = False
    """`switch` is an address that the output listens at."""
    writes_file: bool = False
    """`switch` is a file's path; "-" is standard output."""

    def make(self, context: OutputContext) -> Output | None:
        """The output, or None if the settings don't ask for it.

        Raises: UserError if it can't be made.
        """
        return cast(Factory, pkgutil.resolve_name(self.factory))(context)

    def try_out(self, settings: Settings) -> Outcome:
        """Try whether the output that the settings ask for could work.

        Raises: UserError where it could not.
        """
        return cast(Trial, pkgutil.resolve_name(self.trial))(settings)

    def target(self, settings: Settings) -> str:
        """The output's target; empty if it is switched off, or has no switch."""
        return str(value_of(settings, self.switch) or "") if self.switch else ""

    def file(self, settings: Settings) -> Path | None:
        """The file that the output writes; None if it writes none."""
        target = self.target(settings)
        return Path(target).expanduser() if self.writes_file and target not in ("", "-") else None

    def exchangeable(self, old: Settings, new: Settings) -> bool:
        """Whether the output can change while the run goes on.

        What writes to standard output is fixed at the start.
        """
        return not (self.writes_file and "-" in (self.target(old), self.target(new)))

    def blocks(self, old: Settings, new: Settings) -> bool:
        """Whether the old output must be closed before the new one is opened.

        Nobody can listen at 0.0.0.0 as long as 127.0.0.1 has the port.
        """
        before, after = self.target(old), self.target(new)
        return self.listens and before != after and port_of(before) == port_of(after)

    def depends_on(self, key: str) -> bool:
        """Whether the output is another one when the setting `key` changes."""
        return bool(self.switch) and any(
            key == each or key.startswith(f"{each}.") for each in (self.switch, *self.settings)
        )


OUTPUTS: Final = (
    OutputKind("JSON lines", "daemon.output.jsonl:make", switch="output.jsonl", writes_file=True),
    OutputKind(
        "commands",
        "daemon.output.command.output:make",
        trial="daemon.output.command.trial:find_programs",
        switch="on",
        settings=("command",),
    ),
    OutputKind(
        "metrics",
        "daemon.output.metrics.factory:make",
        trial="daemon.output.metrics.factory:try_address",
        switch="output.metrics",
        needs_network=True,
        listens=True,
    ),
    OutputKind(
        "MQTT",
        "daemon.output.mqtt.factory:make",
        trial="daemon.output.mqtt.factory:try_broker",
        switch="output.mqtt",
        settings=("mqtt",),
        needs_network=True,
    ),
    OutputKind(
        "webhook",
        "daemon.output.webhook.factory:make",
        trial="daemon.output.webhook.factory:try_url",
        switch="output.webhook",
        settings=("webhook",),
        needs_network=True,
    ),
    OutputKind("terminal", "daemon.output.terminal:make"),
)
"""Every kind of output, in the order in which they are opened."""


def make_outputs(context: OutputContext) -> dict[str, Output]:
    """The outputs that the settings ask for, by name.

    Raises: UserError if one can't be made.
    """
    made = {kind.name: kind.make(context) for kind in OUTPUTS}
    return {name: output for name, output in made.items() if output is not None}


def exchange_outputs(
    outputs: Mapping[str, Output], context: OutputContext, changed: Collection[str]
) -> dict[str, Output]:
    """`outputs` by name, those replaced that depend on a `changed` key.

    Raises: UserError if one can't be made.
    """
    exchanged: dict[str, Output] = {}
    for kind in OUTPUTS:
        replaced = any(kind.depends_on(key) for key in changed)
        output = kind.make(context) if replaced else outputs.get(kind.name)
        if output is not None:
            exchanged[kind.name] = output
    return exchanged


def network_families(settings: Settings) -> tuple[str, ...]:
    """Address families that the settings' outputs need, by systemd's names."""
    targets = [kind.target(settings) for kind in OUTPUTS if kind.needs_network]
    found = [address_families(host_of(target)) for target in targets if target]
    return tuple(dict.fromkeys(family for families in found for family in families))
