"""The table of outputs: what settings make, replace and need."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest
from support.running import EVERY_TYPE

from daemon.config import Settings, keys
from daemon.config.lookup import sections
from daemon.health.snapshot import Health
from daemon.output import registry
from daemon.output.base import Output, OutputContext
from daemon.output.jsonl import JsonLines
from daemon.output.plain import Plain
from daemon.output.registry import (
    OUTPUTS,
    OutputKind,
    exchange_outputs,
    make_outputs,
    network_families,
)


class Controls:
    load = 0.1
    paused = False
    outputs = ()

    def health(self) -> Health:
        raise NotImplementedError

    def warn(self, sentence: str) -> None: ...

    def pause(self, paused: bool) -> None: ...

    def quit(self) -> None: ...


def context(**output: object) -> OutputContext:
    return OutputContext(Settings.model_validate({"output": output}), Controls())


def test_every_line_of_the_table_can_be_made_and_names_settings() -> None:
    known = {f"{section}.{key}" for section, key, _ in keys()} | set(sections())
    for kind in OUTPUTS:
        assert callable(pkgutil.resolve_name(kind.factory))
        assert set(kind.settings) <= known and (not kind.switch or kind.switch in known)
    assert len({kind.name for kind in OUTPUTS}) == len(OUTPUTS)


def test_the_settings_say_which_outputs_there_are(tmp_path: Path) -> None:
    assert [type(output) for output in make_outputs(context()).values()] == [Plain]
    made = make_outputs(context(jsonl=str(tmp_path / "lines")))
    assert [type(output) for output in made.values()] == [JsonLines, Plain]


def test_a_change_replaces_what_depends_on_it(tmp_path: Path) -> None:
    outputs = make_outputs(context(jsonl=str(tmp_path / "a")))
    same = exchange_outputs(outputs, context(jsonl=str(tmp_path / "a")), ["events.threshold"])
    assert same == outputs
    other = exchange_outputs(outputs, context(jsonl=str(tmp_path / "b")), ["output.jsonl"])
    assert list(other) == list(outputs)
    assert other["terminal"] is outputs["terminal"]
    assert other["JSON lines"].name.endswith("b")
    gone = exchange_outputs(other, context(), ["output.jsonl"])
    assert list(gone) == ["terminal"]


def test_standard_output_changes_hands_at_the_start_only() -> None:
    lines = OUTPUTS[0]
    standard, file, none = (context(jsonl=target).settings for target in ("-", "x.jsonl", ""))
    assert lines.exchangeable(file, none) and lines.exchangeable(none, file)
    assert not lines.exchangeable(standard, none) and not lines.exchangeable(file, standard)


class Sent:
    """An output that sends over the network, as another package may add."""

    name = "sent"
    takes = EVERY_TYPE


def make_sent(context: OutputContext) -> Output | None:
    return Sent() if context.settings.output.log else None  # type: ignore[return-value]


def test_one_line_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output in the table is made, exchanged, and given the network."""
    kind = OutputKind(
        "sent",
        f"{__name__}:make_sent",
        switch="output.log",
        settings=("audio",),
        needs_network=True,
    )
    monkeypatch.setattr(registry, "OUTPUTS", (*OUTPUTS, kind))
    assert list(make_outputs(context())) == ["terminal"]
    on = context(log="there")
    assert list(make_outputs(on)) == ["terminal", "sent"]
    assert network_families(on.settings) == ("AF_INET", "AF_INET6", "AF_NETLINK")
    assert network_families(context(log="127.0.0.1:1883").settings) == ("AF_INET",)
    assert network_families(context(log="http://[::1]/x").settings) == ("AF_INET6",)
    assert network_families(context().settings) == ()
    outputs = make_outputs(on)
    assert exchange_outputs(outputs, on, ["audio.rate"])["sent"] is not outputs["sent"]
    assert kind.file(on.settings) is None
