"""The command line as a process: exit statuses, sentences, speed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from daemon import __version__
from daemon.capture.microphone.devices import InputDevice
from daemon.cli import run
from daemon.commands.check import foreign_packages
from daemon.commands.devices import table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("config", "state", "cache"):
        monkeypatch.setenv(f"XDG_{folder.upper()}_HOME", str(tmp_path / folder))
    return tmp_path


def intentd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("intentd: ")
    assert "Traceback" not in result.stderr
    return lines[0].removeprefix("intentd: ")


def test_help_names_every_command() -> None:
    result = intentd("--help")
    assert result.returncode == 0
    for command in ("live", "replay", "devices", "check", "bench", "config"):
        assert f"\n  {command} " in result.stdout
        assert intentd(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("package", "text"),
    [("daemon", "Listen to a microphone until q"), ("train", "Train a model by a recipe")],
)
def test_python_that_drops_docstrings_is_started_again(package: str, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", package, "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert text in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="a locale of POSIX")
def test_a_locale_without_umlauts_gets_sentences_too() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = intentd("replay", "grün.wav", **plain)
    assert result.returncode == 2
    assert complaint(result).startswith("gr\\xc3\\xbcn.wav")


@pytest.mark.parametrize("command", ["--help", "devices"])
def test_what_wants_no_model_loads_nothing_heavy(command: str) -> None:
    """It is what makes them answer at once."""
    code = (
        f"import sys; from daemon.cli import run; run([{command!r}]);"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'torch', 'transformers', 'scipy', 'numpy'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    result = intentd("--version")
    assert (result.returncode, result.stdout) == (0, f"intentd {__version__}\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [("re", ["replay"]), ("replay --sp", ["--speed"]), ("service u", ["uninstall"])],
)
def test_bash_completes_commands_and_options(elsewhere: Path, words: str, found: list[str]) -> None:
    program = elsewhere / "intentd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m daemon "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(intentd --show-completion)" && '
        f"COMP_WORDS=(intentd {words}) COMP_CWORD={len(words.split())} && "
        '_intentd_completion intentd && echo "${COMPREPLY[@]}"'
    )
    path = f"{elsewhere}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    )
    assert result.stdout.split() == found, result.stderr


def test_without_a_command_the_help_is_shown() -> None:
    result = intentd()
    assert result.returncode == 0 and "Usage: intentd" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["listen"], "listen"),
        (["replay"], "--demo"),
        (["replay", "--sped", "max", "x.wav"], "--sped"),
        (["live", "--config"], "--config"),
        (["replay", "x.wav", "--speed", "fast"], "--speed"),
        (["replay", ""], "the name of a recording is empty"),
        (["replay", "x.wav", "--speed", "0"], "--speed"),
        (["replay", "x.wav", "--speed", "-1"], "--speed"),
        (["replay", "x.wav", "--speed", "nan"], "--speed"),
        (["replay", "x.wav", "--config", "none.toml"], "none.toml"),
        (["replay", "x.wav", "--set", "gate.kind=loud"], "gate.kind"),
        (["bench", "--rounds", "0"], "--rounds"),
    ],
)
def test_what_cannot_start_is_one_sentence_and_status_2(arguments: list[str], part: str) -> None:
    result = intentd(*arguments)
    assert result.returncode == 2
    assert part in complaint(result)
    assert result.stdout == ""


def test_a_hostile_name_is_shown_and_not_obeyed(plain_model: Path) -> None:
    result = intentd("replay", "no\nsuch\x1b[31m.wav", "--model", str(plain_model))
    assert result.returncode == 2
    assert "no\\nsuch\\x1b[31m.wav" in complaint(result)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("module", "arguments", "closed", "status", "said"),
    [
        ("daemon", "replay a.wav --speed max --headless --jsonl -", ">&-", 0, ""),
        ("daemon", "replay a.wav --speed max", "<&- >&- 2>&-", 0, ""),
        ("daemon", "status --pid 1", ">&-", 2, "no intentd"),
        ("daemon", "replay none.wav", "2>&-", 2, ""),
        ("train", "none.toml --output out", ">&-", 2, "none"),
        ("train", "none.toml --output out", "2>&-", 2, ""),
    ],
)
def test_standard_streams_may_be_closed(
    elsewhere: Path, plain_model: Path, module: str, arguments: str, closed: str, status: int,
    said: str,
) -> None:  # fmt: skip
    """What a stream can't take is lost, and goes nowhere else."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    soundfile.write(elsewhere / "a.wav", noise, 16000)
    before = (elsewhere / "a.wav").read_bytes()
    result = subprocess.run(
        ["sh", "-c", f'exec "$0" -m {module} {arguments} {closed}', sys.executable],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "INTENTD_MODEL__PATH": str(plain_model),
            "INTENTD_MODEL__BACKEND": "torch",
        },
    )
    assert result.returncode == status
    assert result.stdout == ""
    assert said in result.stderr and len(result.stderr.splitlines()) == bool(said)
    assert (elsewhere / "a.wav").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("module", "argument"),
    [("daemon", "config"), ("daemon", "--help"), ("daemon", "--version"), ("train", "--help")],
)
def test_a_full_standard_output_is_named(module: str, argument: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", module, argument],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        )
    assert result.returncode == 1
    said = "standard output can't be written (no space left on device)\n"
    assert result.stderr == f"intentd{'-train' * (module == 'train')}: {said}"


def test_debug_shows_the_traceback() -> None:
    for arguments in (
        ["--debug", "replay", "x.wav", "--config", "none.toml"],
        ["replay", "x.wav", "--config", "none.toml", "--debug"],
    ):
        result = intentd(*arguments)
        assert result.returncode == 2
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("intentd: ")


# ---- config -------------------------------------------------------------------------------------


def test_config_prints_every_key_its_value_and_where_it_comes_from(plain_model: Path) -> None:
    Path("config.toml").write_text("[gate]\non = 0.6\n[events.thresholds]\nup = 0.5\n")
    result = intentd(
        "config",
        "--model",
        str(plain_model),
        "--set",
        "audio.rate=8000",
        INTENTD_GATE__KIND="off",
    )
    assert (result.returncode, result.stderr) == (0, "")
    values = tomllib.loads(result.stdout)
    assert values["gate"]["kind"] == "off" and values["gate"]["on"] == 0.6
    assert values["audio"]["rate"] == 8000 and values["events"]["thresholds"] == {"up": 0.5}
    origins = {
        line.split(" = ")[0]: line.split("  # ")[1]
        for line in result.stdout.splitlines()
        if " = " in line
    }
    assert origins["kind"] == "INTENTD_GATE__KIND"
    assert origins["on"] == "./config.toml"
    assert origins["rate"] == "--set audio.rate"
    assert origins["path"] == "--model"
    assert origins["thresholds.up"] == "./config.toml"
    assert origins["hop"] == "default"


def test_what_config_prints_is_a_file_that_says_the_same(plain_model: Path) -> None:
    first = intentd("config", "--model", str(plain_model), "--set", "gate.on=0.9").stdout
    Path("again.toml").write_text(first)
    second = intentd("config", "--config", "again.toml").stdout
    assert tomllib.loads(first) == tomllib.loads(second)


def test_config_init_writes_a_file_once(elsewhere: Path) -> None:
    result = intentd("config", "--init")
    path = elsewhere / "config" / "intentd" / "config.toml"
    assert result.returncode == 0 and result.stdout == f"{path}\n"
    assert path.read_text() == (ROOT / "config.toml").read_text()
    again = intentd("config", "--init")
    assert again.returncode == 2 and "exists already" in complaint(again)


# ---- check, devices and bench -------------------------------------------------------------------


def test_check_says_what_works_and_its_status_is_the_verdict(
    plain_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["check", "--model", str(plain_model), "--set", "model.threads=1"])
    lines = capsys.readouterr().out.splitlines()
    verdicts = {line[6:].split(":")[0]: line[:4] for line in lines if line[:4] in ("ok  ", "FAIL")}
    assert list(verdicts) == [
        "packages",
        "settings",
        "model",
        "speech gate",
        "log folder",
        "runtime folder",
        "cache folder",
        "PortAudio",
        "inputs",
        "sound server",
        "microphone",
    ]
    assert status == (1 if "FAIL" in verdicts.values() else 0)
    for works in ("settings", "model", "speech gate", "log folder"):
        assert verdicts[works] == "ok  ", lines


def test_check_names_what_is_wrong_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    status = run(["check", "--model", "nowhere", "--set", "output.log=file/x.log"])
    said = capsys.readouterr().out
    assert status == 1
    assert "FAIL  settings: there is no model directory nowhere" in said
    assert "FAIL  log folder: file can't be written to" in said
    assert "fix: set output.log to another place" in said
    assert "microphone" in said


def test_check_advises_what_helps_on_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    own = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    code = (
        "from daemon.commands.check import cache_writable, writable; from pathlib import Path;"
        "print(*writable(Path('log'), 'output.log'), sep='|'); print(*cache_writable(), sep='|')"
    )
    try:
        subprocess.run([*own, "mount -t tmpfs -o ro none ."], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        [*own, 'mount -t tmpfs -o ro none . && cd "$PWD" && "$0" -c "$1"', sys.executable, code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    log, cache = done.stdout.splitlines()
    assert log == (
        "False|log can't be written to: read-only file system|set output.log to another place"
    )
    assert cache.startswith("True|") and "read-only" in cache
    assert cache.endswith("takes some seconds longer so; set XDG_CACHE_HOME to another place")


def test_a_foreign_package_of_our_name_is_noticed(tmp_path: Path) -> None:
    assert foreign_packages([str(tmp_path)])[0]
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "__init__.py").touch()
    ok, text, fix = foreign_packages([str(tmp_path)])
    assert not ok and str(tmp_path) in text and "pipx" in fix


def test_devices_lists_inputs_or_says_why_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["devices"])
    said = capsys.readouterr()
    if status == 0:
        assert said.out.splitlines()[-1].startswith("* is the default")
    else:
        assert said.out == "" and len(said.err.splitlines()) == 1


def test_the_table_of_devices_marks_the_default() -> None:
    usb = InputDevice(3, "USB \x1b[1mMic", "ALSA", 1, 44100, (16000, 44100), True)
    pulse = InputDevice(12, "pulse", "ALSA", 32, 44100, ())
    first, second, _ = table([usb, pulse]).splitlines()
    assert first.startswith("* 3   USB \\x1b[1mMic  1 channel ")
    assert "  16, 44.1  ALSA" in first
    assert second.startswith("  12  pulse") and "32 channels" in second
