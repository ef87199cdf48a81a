"""Values of settings: what text is read as, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configured import load, refusal

from daemon.base.errors import UserError
from daemon.config import (
    Option,
    Sources,
    keys,
    load_settings,
)
from daemon.config.sentences import allowed

# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[gaet]\non = 0.5", ["given.toml: gaet", "did you mean gate?"]),
        ("kind = 'off'", ["given.toml: kind", "did you mean gate.kind?"]),
        ("[gate]\nkinds = 'off'", ["given.toml: gate.kinds", "did you mean kind?"]),
        ("[gate]\nkind = 'sliero'", ["gate.kind", '"sliero"', '"silero", "energy" or "off"']),
        ("[gate]\non = '0.5'", ["gate.on", '"0.5"', "0 to 1"]),
        ("[gate]\non = true", ["gate.on is true", "0 to 1"]),
        ("[gate]\non = nan", ["gate.on is nan", "0 to 1"]),
        ("[gate]\non = 0.2", ["gate.on is 0.2", "gate.off (by default) is 0.35"]),
        ("gate = 3", ["gate is 3", "must be a table"]),
        ("[window]\nhop = 2.0", ["window.hop is 2.0", "window.seconds (by default) is 1.0"]),
        ("[window]\nseconds = -1", ["window.seconds is -1", "0.1 to 30 s"]),
        ("[audio]\nchannel = 0", ["audio.channel is 0", '"mix"', "counted from 1"]),
        ("[audio]\nchannel = 'left'", ["audio.channel", '"left"']),
        ("[audio]\nrate = 12.5", ["audio.rate is 12.5"]),
        ("[audio]\nrate = 10", ["audio.rate is 10", "1000 to 384000 Hz"]),
        ("[audio]\ndevice = 1.5", ["audio.device is 1.5"]),
        ("[audio]\nblock_ms = 0", ["audio.block_ms is 0", "0.5 to 1000 ms"]),
        ("[rolling]\nforgetting = 0", ["rolling.forgetting is 0"]),
        ("[rolling]\nwindows = 0", ["rolling.windows is 0"]),
        ("[events]\nthresholds = 0.5", ["events.thresholds is 0.5", "table of labels"]),
        ("[events.thresholds]\nup = 2", ["events.thresholds.up is 2", "0 to 1"]),
        ("[output]\nheadless = 'yes'", ["output.headless", "true or false"]),
        ("[model]\nthreads = -1", ["model.threads is -1"]),
        ("[output]\ntypes = ['evnt']", ["output.types is ['evnt']", '"event", "rejection", "gap"']),
        ("[output]\ntypes = []", ["output.types", "one or more"]),
        ("[output]\ntypes = 'event'", ["output.types", "a list"]),
        ('[gate]\n"\\u001b[31m" = 1', ["x1b[31m"]),
        ('[audio]\ndevice = [ "\\u001b[2J\\n" ]', ["audio.device", "x1b"]),
    ],
)
def test_a_wrong_file_is_one_sentence_with_file_key_and_what_is_allowed(
    text: str, parts: list[str]
) -> None:
    sentence = refusal(text)
    assert sentence.isprintable()
    for part in ["given.toml", *parts]:
        assert part in sentence


def test_every_key_refuses_what_has_a_wrong_type_and_says_what_is_allowed() -> None:
    for section, key, field in keys():
        sentence = refusal(f"[{section}]\n{key} = [1979-05-27, {{}}]")
        assert f"{section}.{key}" in sentence
        assert allowed(field) in sentence


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"INTENTD_GATE__KIND": "loud"}, ["INTENTD_GATE__KIND", '"loud"', '"silero"']),
        ({"INTENTD_GATE__ON": "much"}, ["INTENTD_GATE__ON", '"much"', "0 to 1"]),
        ({"INTENTD_GATE__KNID": "off"}, ["INTENTD_GATE__KNID", "did you mean kind?"]),
        ({"INTENTD_GAET__KIND": "off"}, ["INTENTD_GAET__KIND", "did you mean gate?"]),
        ({"INTENTD_EVENTS__THRESHOLDS__UP": "2"}, ["INTENTD_EVENTS__THRESHOLDS__UP is 2"]),
        ({"INTENTD_EVENTS__THRESHOLDS": "0.5"}, ["INTENTD_EVENTS__THRESHOLDS", "table"]),
        ({"INTENTD_GATE__KIND__X": "off"}, ["INTENTD_GATE__KIND__X", "is no table"]),
        ({"INTENTD_OUTPUT__TYPES": ""}, ["INTENTD_OUTPUT__TYPES", "one or more"]),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], parts: list[str]) -> None:
    sentence = refusal(environ=environ)
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("gate.kind", ["--set", "section.key=value"]),
        ("kind=off", ["--set", "section.key=value"]),
        ("gate.kind=loud", ["--set gate.kind", '"loud"']),
        ("gate.knid=off", ["--set gate.knid", "did you mean kind?"]),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, parts: list[str]) -> None:
    sentence = refusal("", assignment)
    for part in parts:
        assert part in sentence


# ---- variables and assignments ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("audio.device", "3", 3),
        ("audio.device", "USB 3", "USB 3"),
        ("audio.channel", "2", 2),
        ("audio.channel", "mix", "mix"),
        ("audio.block_ms", "1.3333", 1.3333),
        ("audio.block_ms", "4", 4.0),
        ("audio.follow_default", "yes", True),
        ("output.headless", "0", False),
        ("model.path", "123", "123"),
        ("model.threads", "2", 2),
        ("events.thresholds", "{up = 0.5}", {"up": 0.5}),
        ("output.types", "event, summary", ["event", "summary"]),
        ("output.types", '["event"]', ["event"]),
        ("gate.on", "1e-1", 0.1),
    ],
)
def test_text_takes_the_type_of_its_key(name: str, text: str, expected: object) -> None:
    section, key = name.split(".")
    low = {"INTENTD_GATE__OFF": "0"}
    variable = {f"INTENTD_{section.upper()}__{key.upper()}": text, **low}
    for loaded in (load(environ=variable), load("", f"{name}={text}", environ=low)):
        value = getattr(getattr(loaded.settings, section), key)
        assert value == expected and type(value) is type(expected)


def test_thresholds_of_single_labels_come_from_the_shell_too() -> None:
    loaded = load(
        "[events.thresholds]\nup = 0.5\nleft = 0.6",
        "events.thresholds.right=0.4",
        environ={"INTENTD_EVENTS__THRESHOLDS__UP": "0.8"},
    )
    assert loaded.settings.events.thresholds == {"up": 0.8, "left": 0.6, "right": 0.4}
    assert str(loaded.origins["events.thresholds.up"]) == "INTENTD_EVENTS__THRESHOLDS__UP"
    loaded.check_labels(["up", "left", "right"])
    with pytest.raises(UserError, match=r"given\.toml.*\"left\".*did you mean lift\?"):
        loaded.check_labels(["up", "lift", "right"])


def test_a_variable_near_a_setting_is_warned_of_and_a_foreign_one_is_not() -> None:
    loaded = load(environ={"INTENTD_GATE_KIND": "off", "INTENTD_SERVICE_HOST": "10.0.0.1"})
    assert loaded.settings.gate.kind == "silero"
    (warning,) = loaded.warnings()
    assert "INTENTD_GATE__KIND" in warning


# ---- for any input ------------------------------------------------------------------------------

scalars = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({"a": 1})
)
known = st.sampled_from([(s, k) for s, k, _ in keys()])


@given(st.lists(st.tuples(known, scalars), max_size=4))
def test_any_value_is_taken_or_refused_in_one_sentence(
    chosen: list[tuple[tuple[str, str], object]],
) -> None:
    values: dict[str, dict[str, object]] = {}
    for (section, key), value in chosen:
        values.setdefault(section, {})[key] = value
    options = tuple(
        Option(f"{s}.{k}", f"--{s}-{k}", v) for s, table in values.items() for k, v in table.items()
    )
    try:
        loaded = load_settings(Sources(options=options), environ={})
    except UserError as error:
        assert str(error).isprintable()
        return
    for section, table in values.items():
        for key, value in table.items():
            got = getattr(getattr(loaded.settings, section), key)
            assert got == value or value is None


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_refused_in_one_sentence(raw: bytes) -> None:
    Path("any.toml").write_bytes(raw)
    try:
        load_settings(Sources(Path("any.toml")), environ={})
    except UserError as error:
        assert str(error).isprintable()
