"""The unit that `intentd service` writes, also without systemd."""

from __future__ import annotations

import asyncio
import ctypes.util
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.run_controls import free_port

from daemon.cli import run
from daemon.service.unit import Unit, command_line, quoted

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
ROOT = Path(__file__).resolve().parents[2]
RESTRICTED = ROOT / "tests" / "support" / "restricted.py"
analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, of the package systemd"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a service manager, and without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    for name in [name for name in os.environ if name.startswith("INTENTD_")]:
        monkeypatch.delenv(name)
    return tmp_path


def unit_file(home: Path) -> Path:
    return home / "config" / "systemd" / "user" / "intentd.service"


def settings_of(text: str) -> dict[str, list[str]]:
    """Key to values, in their order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def unquoted(word: str) -> str:
    """A word as systemd reads it: systemd.syntax(7), systemd.service(5)."""
    if word.startswith('"'):
        word = word[1:-1].replace('\\"', '"')
    return word.replace("\\\\", "\\").replace("%%", "%").replace("$$", "$")


@given(st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"])))
def test_quoting_keeps_an_argument(argument: str) -> None:
    word = quoted(argument)
    if not word.startswith('"'):
        assert not set(word) & set(" \t'\"\\;")
    if "\\" not in argument:  # the order of undoing matters with backslashes
        assert unquoted(word) == argument


def test_what_no_unit_can_hold_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError):
        quoted("two\nlines")
    assert run(["service", "install", "--device", "two\nlines"]) == 2
    assert "line break" in capsys.readouterr().err
    assert not unit_file(home).exists()


def test_install_writes_a_hardened_unit_and_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "my.toml").write_text('[output]\njsonl = "events/out.jsonl"\n')
    (home / "events").mkdir()
    assert run(["service", "install", "--config", "my.toml", "--device", 'USB "5%"']) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote {unit_file(home)}\n"
    assert "systemctl --user enable --now intentd" in said.err
    unit = settings_of(unit_file(home).read_text())
    for key, value in {
        "Type": "notify", "Restart": "always", "RestartSec": "1", "NoNewPrivileges": "yes",
        "ProtectSystem": "strict", "ProtectHome": "read-only", "PrivateUsers": "yes",
        "RestrictAddressFamilies": "AF_UNIX", "WatchdogSec": "30", "RuntimeDirectory": "intentd",
    }.items():  # fmt: skip
        assert unit[key] == [value], key
    writable = [home / "events", home / "cache" / "intentd"]
    assert unit["ReadWritePaths"] == [f"-{quoted(str(folder))}" for folder in writable]
    assert all(folder.is_dir() for folder in writable)
    (command,) = unit["ExecStart"]
    assert command.endswith(
        'live --headless --wait-for-device --device "USB \\"5%%\\"" '
        f"--config {quoted(str(home / 'my.toml'))}"
    )
    program = unquoted(command.split(" live ")[0].split()[0])
    assert os.access(program, os.X_OK)


def test_install_again_changes_what_changed_only(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install"]) == 0
    first = unit_file(home).stat()
    assert run(["service", "install"]) == 0
    assert unit_file(home).stat().st_mtime_ns == first.st_mtime_ns
    assert capsys.readouterr().out.splitlines()[1].startswith("unchanged: ")
    assert run(["service", "install", "--no-sandbox", "--network", "--headless"]) == 0
    unit = settings_of(unit_file(home).read_text())
    assert "ProtectSystem" not in unit and unit["NoNewPrivileges"] == ["yes"]
    assert "AF_INET" in unit["RestrictAddressFamilies"][0]
    assert unit["ExecStart"][0].count("--headless") == 1
    assert list(unit_file(home).parent.iterdir()) == [unit_file(home)]


def test_a_model_of_the_hub_takes_the_network(home: Path) -> None:
    assert run(["service", "install", "--model", "someone/some-model"]) == 0
    text = unit_file(home).read_text()
    assert "AF_INET" in text and f"{home}/cache/huggingface" in text
    (home / "model").mkdir()
    assert run(["service", "install", "--model", "model"]) == 0
    text = unit_file(home).read_text()
    assert "AF_INET" not in text and f"--model {quoted(str(home / 'model'))}" in text


def test_the_settings_of_this_folder_are_pinned(home: Path) -> None:
    (home / "config.toml").write_text("[gate]\nkind = 'off'\n")
    assert run(["service", "install"]) == 0
    assert f"--config {quoted(str(home / 'config.toml'))}" in unit_file(home).read_text()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--devise", "x"], "--devise"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--set", "gate.kind=loud"], "gate.kind"),
        (["--jsonl", "nowhere/out.jsonl"], "nowhere"),
    ],
)
def test_what_live_would_refuse_is_refused_at_once(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert run(["service", "install", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("intentd: ") and part in line
    assert not unit_file(home).exists()


def test_status_and_uninstall(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "status"]) == 2
    assert "not installed" in capsys.readouterr().out
    assert run(["service", "install"]) == 0
    assert run(["service", "status"]) == 1  # no service manager, so it does not run
    assert f"installed: {unit_file(home)}" in capsys.readouterr().out
    assert run(["service", "uninstall"]) == 0
    assert not unit_file(home).exists()
    assert run(["service", "uninstall"]) == 0
    assert "there is no" in capsys.readouterr().out


def put_systemctl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these shell commands the `systemctl` that is found first."""
    folder.mkdir()
    (folder / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "says",
    [
        "Failed to connect to bus: No medium found",
        "Failed to connect to user scope bus via local transport: No such file or directory",
        "System has not been booted with systemd as init system (PID 1). Can't operate.",
    ],
)
def test_without_a_service_manager_the_unit_is_written_only(
    says: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_systemctl(home / "bin", f'echo "{says}" >&2\nexit 1', monkeypatch)
    assert run(["service", "install"]) == 0
    assert "systemctl --user enable --now intentd" in capsys.readouterr().err
    assert unit_file(home).exists()


def test_systemd_is_notified_in_order(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a systemctl the unit is loaded, enabled, started and stopped."""
    answer = f'echo "$@" >> {tmp_path}/calls\necho ActiveState=active'
    put_systemctl(tmp_path / "bin", answer, monkeypatch)
    assert run(["service", "install"]) == 0
    assert run(["service", "status"]) == 0
    assert run(["service", "uninstall"]) == 0
    calls = [line.split(" ", 2)[2] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls[:3] == ["daemon-reload", "enable intentd.service", "restart intentd.service"]
    assert calls[3].startswith("show intentd.service")
    assert calls[4:] == ["disable --now intentd.service", "daemon-reload"]


@analyze
@pytest.mark.parametrize("sandbox", [True, False])
def test_systemd_accepts_the_unit(tmp_path: Path, sandbox: bool) -> None:
    folder = tmp_path / "folder with 100% spaces"
    folder.mkdir()
    command = command_line((sys.executable, "-m", "daemon"), ["--device", "a; b 'c' $d \\e"])
    unit = Unit(command, writes=(folder,), families=("AF_INET",), sandbox=sandbox)
    path = tmp_path / "intentd.service"
    path.write_text(unit.text())
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "intentd.service" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_unit_opens_only_what_is_configured(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def families(*options: str) -> str:
        assert run(["service", "install", *options]) == 0
        return settings_of(unit_file(home).read_text())["RestrictAddressFamilies"][0]

    (home / "spoken").mkdir()
    assert families("--on", "left=true") == "AF_UNIX"
    assert families("--on", "left=curl host", "--network").endswith("AF_INET AF_INET6 AF_NETLINK")
    assert families("--write", str(home / "spoken"), "--on", "left=sh -c 'a b'") == "AF_UNIX"
    unit = settings_of(unit_file(home).read_text())
    assert f"-{quoted(str(home / 'spoken'))}" in unit["ReadWritePaths"]
    assert unit["ExecStart"][0].endswith("--on \"left=sh -c 'a b'\"")
    assert run(["service", "install", "--write", str(home / "gone")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "families"),
    [
        ("output.metrics=127.0.0.1:9464", "AF_UNIX AF_INET"),
        ("output.mqtt=[::1]:1883", "AF_UNIX AF_INET6"),
        ("output.mqtt=broker.local:1883", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("output.webhook=http://127.0.0.1/x", "AF_UNIX AF_INET"),
    ],
)
def test_an_output_opens_the_address_families_that_it_needs(
    home: Path, setting: str, families: str
) -> None:
    assert run(["service", "install", "--set", setting]) == 0
    unit = settings_of(unit_file(home).read_text())
    assert unit["RestrictAddressFamilies"] == [families]
    assert unit["ProtectHome"] == ["read-only"] and len(unit["ReadWritePaths"]) == 1


def test_a_service_for_clients_is_told_its_addresses(home: Path) -> None:
    """Those on the command line come last, as `intentd serve` takes them."""

    def unit(*options: str) -> dict[str, list[str]]:
        assert run(["service", "install", "--serve", *options]) == 0
        return settings_of(unit_file(home).read_text())

    plain = unit()
    assert plain["ExecStart"][0].endswith(" serve --headless")
    assert plain["RestrictAddressFamilies"] == ["AF_UNIX AF_INET"]  # 127.0.0.1:10400
    local = unit(f"unix://{home}/run/w.sock", "--on", "*=true", "--set", "gate.kind=off")
    assert [unquoted(word) for word in local["ExecStart"][0].split(" ")[1:]] == [
        *("serve", "--headless", "--on", "*=true", "--set", "gate.kind=off"),
        f"unix://{home}/run/w.sock",
    ]
    assert local["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert f"-{quoted(str(home / 'run'))}" in local["ReadWritePaths"]
    assert unit("http://localhost:10480")["RestrictAddressFamilies"][0].endswith("AF_NETLINK")


@pytest.mark.waits
def test_a_service_needs_no_other_address_families_than_its_unit_has(home: Path) -> None:
    pytest.importorskip("wyoming")
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("needs libseccomp")
    metrics = free_port()
    options = ["tcp://127.0.0.1:0", f"unix://{home}/run/w.sock", "http://127.0.0.1:0"]
    options += ["--set", f"output.metrics=127.0.0.1:{metrics}"]
    assert run(["service", "install", "--serve", *options]) == 0
    unit = settings_of(unit_file(home).read_text())
    families = unit["RestrictAddressFamilies"][0].replace(" ", ",")
    assert families == "AF_UNIX,AF_INET"
    arguments = [unquoted(word) for word in unit["ExecStart"][0].split(" ")[1:]]
    service = subprocess.Popen(
        [sys.executable, str(RESTRICTED), families, sys.executable, "-m", "daemon", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert service.stderr is not None
    try:
        addresses: list[str] = []
        while len(addresses) < 3:
            line = service.stderr.readline()
            assert "listening to clients at" in line, line + service.stderr.read()
            addresses.append(line.split()[-1])
        for address in addresses[:2]:
            assert asyncio.run(described(address))
        for url in (addresses[2], f"http://127.0.0.1:{metrics}/metrics"):
            with urllib.request.urlopen(url, timeout=20) as answer:
                assert answer.status == 200
    finally:
        service.terminate()
        assert service.wait(30) == 0


async def described(address: str) -> bool:
    """Whether intentd answers there."""
    from wyoming.client import AsyncClient
    from wyoming.info import Describe, Info

    async with asyncio.timeout(20), AsyncClient.from_uri(address) as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
        return event is not None and bool(Info.from_event(event).wake)
