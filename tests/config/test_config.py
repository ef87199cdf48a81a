"""Settings: the shipped file, layers and their origins, where the file is."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.configured import from_model

from daemon.base.errors import UserError
from daemon.config import (
    Option,
    Settings,
    Sources,
    keys,
    load_settings,
    model_keys,
    shipped_text,
)
from daemon.config.lookup import sections

ROOT = Path(__file__).resolve().parents[2]


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
