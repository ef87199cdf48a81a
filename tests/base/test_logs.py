"""--debug and --log-file: what is logged, and where to."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.base.errors import UserError
from daemon.base.logs import LOGGERS, Logs
from daemon.cli import run
from daemon.commands.service import written
from daemon.config import Settings

ROOT = Path(__file__).resolve().parents[2]
POSIX = sys.platform != "win32"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("config", "state"):
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


def test_the_log_of_a_replay_names_settings_model_and_backend(elsewhere: Path) -> None:
    plain = ["replay", "--demo", "--speed", "max", "--headless"]
    quiet = intentd(*plain)
    logged = intentd("--log-file", "run.log", *plain, "--set", "output.lag_warning=1")
    assert quiet.returncode == logged.returncode == 0
    assert quiet.stderr == logged.stderr == "", "the log goes to its file alone"
    text = (elsewhere / "run.log").read_text()
    for part in (
        "output.lag_warning is set by --set output.lag_warning",
        "daemon.model.classifier (MainThread): model ",
        "daemon.model.backends.selection",
        "the run ends: DONE",
    ):
        assert part in text
    for spoken in json.loads((ROOT / "daemon" / "bundled" / "demo.json").read_text()):
        assert f" {spoken['text']} " not in text, "what was spoken is in no log"
    if POSIX:
        assert (elsewhere / "run.log").stat().st_mode & 0o077 == 0
    intentd("--log-file", "run.log", *plain)
    assert (elsewhere / "run.log").read_text().startswith(text), "a log is appended to"


def test_debug_puts_the_log_and_tracebacks_on_stderr() -> None:
    result = intentd("--debug", "replay", "missing.wav", "--model", "nowhere")
    assert result.returncode == 2
    *log, sentence = result.stderr.splitlines()
    assert sentence.startswith("intentd: ") and "nowhere" in sentence
    assert log[0].startswith("debug daemon.") or log[0].startswith("info daemon.")
    assert any("Traceback" in line for line in log)
    plain = intentd("replay", "missing.wav", "--model", "nowhere")
    assert plain.stderr.splitlines() == [sentence]


def test_a_log_that_cannot_be_written_is_a_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--log-file", str(elsewhere / "no" / "run.log"), "config"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--log-file" in line and "no such file" in line


def test_only_our_own_modules_log(elsewhere: Path) -> None:
    logs = Logs()
    try:
        logs.to_file(Path("run.log"))
        logging.getLogger("somebody.else").error("theirs")
        logging.getLogger("daemon.base").info("ours")
        logging.getLogger("daemon.base").debug("details")
        logs.want_debug()
        logging.getLogger("train.pipeline").debug("more details")
    finally:
        logs.reset()
    lines = Path("run.log").read_text().splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["ours", "more details"]
    assert not any(
        isinstance(handler, logging.FileHandler)
        for name in LOGGERS
        for handler in logging.getLogger(name).handlers
    )


@pytest.mark.skipif(not POSIX, reason="Windows moves no file that is open")
def test_a_rotated_log_begins_a_new_file(elsewhere: Path) -> None:
    logs = Logs()
    try:
        logs.to_file(Path("run.log"))
        logging.getLogger("daemon").info("before")
        Path("run.log").rename("run.log.1")
        logging.getLogger("daemon").info("after")
    finally:
        logs.reset()
    assert Path("run.log.1").read_text().rstrip().endswith("before")
    assert Path("run.log").read_text().rstrip().endswith("after")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_the_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logs = Logs()
    try:
        logs.to_file(Path("/dev/full"))
        logging.getLogger("daemon").error("lost")
    finally:
        logs.reset()
    assert capsys.readouterr().err == ""


def test_lines_carry_a_priority_where_stderr_leads_to_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        code = (
            "import logging; from daemon.base.logs import logs; logs.want_debug()\n"
            "log = logging.getLogger('daemon.x')\n"
            "log.error('one'); log.warning('two'); log.info('three'); log.debug('four\\x1b[2J')"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            stderr=journal,
            check=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
            },
        )
        journal.seek(0)
        assert journal.read().splitlines() == [
            "<3>error daemon.x: one",
            "<4>warning daemon.x: two",
            "<6>info daemon.x: three",
            "<7>debug daemon.x: four\\x1b[2J",
        ]


def test_a_service_keeps_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        written(Settings(), tmp_path / "no" / "run.log")
    assert written(Settings(), tmp_path / "run.log") == (tmp_path,)
