"""Settings: layers, origins, and the sentences a wrong one is answered with."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.base.errors import UserError
from daemon.config import (
    Loaded,
    Option,
    Settings,
    Sources,
    keys,
    load_settings,
    model_keys,
    shipped_text,
)
from daemon.config.lookup import sections
from daemon.config.sentences import allowed

ROOT = Path(__file__).resolve().parents[2]
GIVEN = Sources(Path("given.toml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a config folder without any settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


def load(text: str = "", *assignments: str, environ: dict[str, str] | None = None) -> Loaded:
    Path("given.toml").write_text(text)
    return load_settings(Sources(Path("given.toml"), assignments), environ=environ or {})


def refusal(text: str = "", *assignments: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(text, *assignments, environ=environ)
    assert caught.value.status == 2
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def from_model(values: Mapping[str, Any], text: str = "") -> Loaded:
    Path("given.toml").write_text(text)
    return load_settings(GIVEN, environ={}, model=lambda _: ("tiny", dict(values)))


# ---- the shipped file ---------------------------------------------------------------------------


def uncommented(text: str) -> str:
    """The shipped file with its commented-out keys set."""
    names = {name for _, name, _ in keys()}
    lines = []
    for line in text.splitlines():
        body = line.removeprefix("# ")
        lines.append(body if body.split(" = ")[0] in names and " = " in body else line)
    return "\n".join(lines)


def test_the_file_at_the_root_is_made_from_the_settings() -> None:
    """`make config.toml` makes it anew."""
    assert (ROOT / "config.toml").read_text() == shipped_text()


def test_the_shipped_file_has_every_key_with_its_default() -> None:
    every = tomllib.loads(uncommented(shipped_text()))
    defaults = Settings().model_dump()
    assert every == defaults
    # Order too, so that the file reads like `intentd config`.
    assert [(s, k) for s in every for k in every[s]] == [(s, k) for s, k, _ in keys()]


def test_the_shipped_file_cancels_no_model() -> None:
    values = tomllib.loads(shipped_text())
    active = {f"{section}.{key}" for section, table in values.items() for key in table}
    assert active.isdisjoint(model_keys())
    assert active | model_keys() == {f"{s}.{k}" for s, k, _ in keys()}


def test_every_key_of_the_shipped_file_has_a_comment_of_one_line() -> None:
    lines = shipped_text().splitlines()
    for section, key, _ in keys():
        at = next(
            i
            for i, line in enumerate(lines)
            if line.removeprefix("# ").startswith(f"{key} = ")
            and next(s for s in reversed(lines[:i]) if s.startswith("[")) == f"[{section}]"
        )
        comment, above = lines[at - 1], lines[at - 2]
        assert comment.startswith("# ") and " = " not in comment.split(", for example")[0], key
        assert not above.startswith("# ") or " = " in above, f"{key}: more than one line"


# ---- layers -------------------------------------------------------------------------------------


def test_each_layer_goes_before_the_one_below() -> None:
    text = "[gate]\non = 0.6\noff = 0.2\n[audio]\nrate = 8000"
    model = {"gate": {"on": 0.55, "off": 0.25, "min_silence": 0.5}, "window": {"hop": 0.12}}
    Path("given.toml").write_text(text)
    loaded = load_settings(
        Sources(
            Path("given.toml"),
            ("gate.on=0.8",),
            (Option("audio.device", "--device", "USB"), Option("model.path", "--model", None)),
        ),
        environ={"INTENTD_GATE__ON": "0.7", "INTENTD_AUDIO__RATE": "16000"},
        model=lambda _: ("tiny", model),
    )
    settings, origins = loaded.settings, loaded.origins
    assert settings.gate.on == 0.8 and str(origins["gate.on"]) == "--set gate.on"
    assert settings.audio.rate == 16000 and str(origins["audio.rate"]) == "INTENTD_AUDIO__RATE"
    assert settings.gate.off == 0.2 and str(origins["gate.off"]) == "given.toml"
    assert settings.gate.min_silence == 0.5
    assert str(origins["gate.min_silence"]) == "the model tiny"
    assert settings.window.hop == 0.12
    assert settings.audio.device == "USB" and str(origins["audio.device"]) == "--device"
    assert settings.model.path == "" and origins["model.path"].kind == "default"
    assert settings.rolling.windows == 3 and str(origins["rolling.windows"]) == "default"
    assert set(origins) == {f"{s}.{k}" for s, k, _ in keys()}


def test_the_model_is_asked_with_the_settings_that_name_it() -> None:
    asked = []

    def model(settings: Any) -> tuple[str, dict[str, object]]:
        asked.append(settings.path)
        return "m", {}

    load_settings(
        environ={"INTENTD_MODEL__PATH": "mine"},
        model=model,
    )
    assert asked == ["mine"]


def test_overruling_the_model_is_reported_and_agreeing_with_it_is_not() -> None:
    model = {"gate": {"on": 0.4}, "events": {"thresholds": {"up": 0.5, "down": 0.6}}}
    loaded = from_model(model, "[gate]\non = 0.4\n[events.thresholds]\nup = 0.9")
    assert loaded.settings.events.thresholds == {"up": 0.9, "down": 0.6}
    (warning,) = loaded.warnings()
    assert "given.toml sets events.thresholds.up = 0.9" in warning and "0.5" in warning
    assert str(loaded.origins["events.thresholds.down"]) == "the model tiny"
    assert from_model(model).warnings() == []


def test_a_model_may_not_set_what_is_the_users() -> None:
    loaded = from_model({"output": {"jsonl": "/tmp/x"}, "gate": {"kind": "off"}})
    assert loaded.settings.output.jsonl == ""
    assert loaded.settings.gate.kind == "off"


def test_a_model_with_a_wrong_value_is_named() -> None:
    with pytest.raises(UserError, match=r"the model tiny: gate\.on is 3; it must be 0 to 1"):
        from_model({"gate": {"on": 3}})


# ---- where the file is --------------------------------------------------------------------------


def test_the_file_is_searched_here_then_in_the_users_folder(elsewhere: Path) -> None:
    home = elsewhere / "xdg" / "intentd"
    home.mkdir(parents=True)
    assert load_settings(environ={}).file is None
    (home / "config.toml").write_text("[audio]\nrate = 8000")
    loaded = load_settings(environ={})
    assert loaded.settings.audio.rate == 8000 and loaded.file == str(home / "config.toml")
    Path("config.toml").write_text("[audio]\nrate = 16000")
    loaded = load_settings(environ={})
    assert loaded.settings.audio.rate == 16000 and loaded.file == "./config.toml"
    Path("third.toml").write_text("")
    assert load_settings(Sources(Path("third.toml")), environ={}).settings.audio.rate == 0


def test_another_programs_config_is_passed_over_with_a_remark(elsewhere: Path) -> None:
    home = elsewhere / "xdg" / "intentd"
    home.mkdir(parents=True)
    (home / "config.toml").write_text("[audio]\nrate = 8000")
    Path("config.toml").write_text('baseURL = "x"\n[output]\nhome = ["HTML"]\n[markup]\na = 1')
    loaded = load_settings(environ={})
    assert loaded.settings.audio.rate == 8000
    (remark,) = loaded.warnings()
    assert "./config.toml" in remark and "--config ./config.toml" in remark
    with pytest.raises(UserError, match="baseURL"):
        load_settings(Sources(Path("config.toml")), environ={})


def test_a_broken_local_file_stops_rather_than_being_ignored() -> None:
    Path("config.toml").write_text("[gate\nkind=")
    with pytest.raises(UserError, match=r"config\.toml is not valid TOML.*line 1"):
        load_settings(environ={})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: None, "there is no settings file"),
        (lambda p: p.mkdir(), "not a regular file"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
        (lambda p: p.write_text("a = " + "[" * 50_000), "nested too deeply"),
        (lambda p: p.write_text("#" * (1 << 21)), "larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(make: Callable[[Path], object], expected: str) -> None:
    path = Path("odd.toml")
    make(path)
    with pytest.raises(UserError, match=expected) as caught:
        load_settings(Sources(path), environ={})
    assert "odd.toml" in str(caught.value)


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


def test_sections_are_those_of_the_contract() -> None:
    assert list(sections()) == [
        *(
            "audio",
            "window",
            "gate",
            "model",
            "rolling",
            "events",
            "output",
            "on",
            "command",
            "mqtt",
        ),
        "webhook",
        "serve",
    ]
