"""Commands of intents: their input, how many run, and their end."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from support.demo import DEMO

from daemon.base.errors import UserError
from daemon.config import load_settings
from daemon.config.settings import ActionSettings
from daemon.config.sources import Sources, commands_by_intent
from daemon.messages import Event, RunInfo
from daemon.output.command.output import Commands, environment

ROOT = Path(__file__).resolve().parents[2]
RUN = RunInfo((), ("left", "right"), frozenset(), (0.5, 0.5), "m", "b", 1.0, 0.24)
pytestmark = pytest.mark.skipif(os.name != "posix", reason="commands are sh's")


def event(intent: str = "left", number: float = 1.0) -> Event:
    return Event("USB mic", intent, number, number + 0.5, 0.9, number + 1, "2026-11-01T10:00:00Z")


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Desk:
    """Commands that append to files in a folder, and failures reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.outputs: list[Commands] = []

    def commands(
        self,
        *,
        parallel: int = 4,
        timeout: float = 10.0,
        run: list[str] | None = None,
        **lines: str,
    ) -> Commands:
        """Lines for the shell by intent, or `run` for "left"."""
        actions = {
            intent.replace("every", "*"): ActionSettings(run=[line], shell=True)
            for intent, line in lines.items()
        }
        if run is not None:
            actions["left"] = ActionSettings(run=run)
        output = Commands(
            actions, parallel=parallel, queue=8, timeout=timeout, on_failure=self.failures.append
        )
        output.open(RUN)
        self.outputs.append(output)
        return output

    def text(self, name: str = "out") -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def number(self, name: str) -> int:
        """A number that a command writes."""
        assert until(lambda: self.text(name).endswith("\n"))
        return int(self.text(name))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    made = Desk(tmp_path)
    yield made
    for output in made.outputs:
        output.close()


def idle(output: Commands) -> bool:
    return until(lambda: output.unfinished == 0)


# ---- what a command gets ------------------------------------------------------------------------


def test_a_command_gets_the_event_on_its_input_and_in_its_environment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTENTD_MQTT_PASSWORD", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.delenv("INTENTD_TEST_REQUIRE_PACKAGES", raising=False)
    output = desk.commands(left="cat > event; env > env")
    output.publish(event())
    output.publish(event("right"))
    assert idle(output)
    assert json.loads(desk.text("event")) == {
        "type": "event", "stream": "USB mic", "intent": "left", "start": 1.0, "end": 1.5,
        "score": 0.9, "at_stream": 2.0, "at": "2026-11-01T10:00:00Z",
    }  # fmt: skip
    found = dict(line.split("=", 1) for line in desk.text("env").splitlines() if "=" in line)
    assert {key: found[key] for key in found if key.startswith("INTENTD_")} == {
        "INTENTD_INTENT": "left", "INTENTD_SCORE": "0.900000", "INTENTD_STREAM": "USB mic",
        "INTENTD_AT": "2026-11-01T10:00:00Z", "INTENTD_AT_STREAM": "2.000",
    }  # fmt: skip
    assert "NOTIFY_SOCKET" not in found and found["PATH"] == os.environ["PATH"]
    assert output.state == "1 ended, 0 of them failed, 0 running" and desk.failures == []


def test_odd_names_of_streams_can_be_passed_on(desk: Desk) -> None:
    odd = Event("caf\udce9\0.wav", "left", 0.0, 1.0, 0.5, 1.0)
    assert environment(odd)["INTENTD_STREAM"] == r"caf\xe9.wav"
    output = desk.commands(left='printf %s "$INTENTD_STREAM" > out')
    output.publish(odd)
    assert idle(output) and desk.text() == r"caf\xe9.wav"


def test_without_a_shell_nothing_is_expanded(desk: Desk) -> None:
    output = desk.commands(run=["sh", "-c", 'printf %s "$1" > out', "sh", "$HOME; `id` *"])
    output.publish(event())
    assert idle(output) and desk.text() == "$HOME; `id` *"


def test_a_star_is_every_intent_beside_its_own(desk: Desk) -> None:
    output = desk.commands(
        left="echo own >> out", every='echo "$INTENTD_INTENT" >> out', parallel=1
    )
    output.publish(event("left"))
    output.publish(event("right"))
    assert idle(output)
    assert desk.text().split() == ["own", "left", "right"]


# ---- bounds -------------------------------------------------------------------------------------


def test_so_many_run_at_once_and_the_others_wait(desk: Desk) -> None:
    output = desk.commands(
        every="echo + >> out; sleep 0.3; echo - >> out", parallel=2, timeout=20.0
    )
    for number in range(5):
        output.publish(event(number=number))
    assert idle(output)
    running = most = 0
    for sign in desk.text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert most == 2 and running == 0 and desk.text().count("+") == 5


def test_a_command_that_hangs_is_ended_with_all_that_it_started(desk: Desk) -> None:
    output = desk.commands(
        left="trap '' TERM; sleep 60 & echo $! > pid; wait; sleep 60", timeout=0.3
    )
    output.publish(event())
    child = desk.number("pid")
    assert idle(output)
    assert until(lambda: not alive(child))
    assert desk.failures == ["the command for left took longer than 0.3 s"]
    assert output.state == "1 ended, 1 of them failed, 0 running"


def test_what_a_command_leaves_in_the_background_counts_as_running(desk: Desk) -> None:
    output = desk.commands(left="sleep 60 & echo $! > pid", timeout=0.8)
    output.publish(event())
    child = desk.number("pid")
    time.sleep(0.2)
    assert alive(child) and output.unfinished == 1
    assert idle(output) and until(lambda: not alive(child))


def test_output_without_end_is_read_and_logged_in_part(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("daemon"), "propagate", True)
    caplog.set_level(logging.INFO, "daemon.output.command")
    output = desk.commands(
        left="yes 'a line\x1b[31m' | head -c 2000000; echo; echo the end; exit 3"
    )
    output.publish(event())
    assert idle(output)
    assert desk.failures == ["the command for left ended with status 3: the end"]
    # An earlier test may have left caplog's handler at two loggers.
    lines = [record.getMessage() for record in dict.fromkeys(caplog.records)]
    assert len(lines) == 100 and set(lines) == {r"the command for left: a line\x1b[31m"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("exit 7", "ended with status 7"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("echo oh >&2; exit 1", "ended with status 1: oh"),
        ("exec 0<&- ; exit 0", ""),
    ],
)
def test_how_a_command_ended_is_said(desk: Desk, line: str, reason: str) -> None:
    output = desk.commands(left=line)
    output.publish(event())
    assert idle(output)
    assert desk.failures == ([f"the command for left {reason}"] if reason else [])


def test_a_program_that_does_not_exist_is_refused_at_the_start(desk: Desk) -> None:
    with pytest.raises(UserError, match=r'\[on\.left\] runs "no-such-program", and there is no'):
        desk.commands(run=["no-such-program", "left"])


def test_a_program_that_is_gone_later_is_a_failure_like_others(desk: Desk) -> None:
    script = desk.folder / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    output = desk.commands(run=[str(script)])
    script.unlink()
    output.publish(event())
    assert desk.failures == [f"the command for left can't be started: there is no program {script}"]


# ---- the end ------------------------------------------------------------------------------------


def test_none_outlives_its_output(desk: Desk) -> None:
    output = desk.commands(left="sleep 60 & echo $! > pid; wait")
    output.publish(event())
    child = desk.number("pid")
    begun = time.monotonic()
    output.close()
    assert time.monotonic() - begun < 10
    assert until(lambda: not alive(child))


@pytest.mark.waits
def test_none_outlives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    program = """
import time
from daemon.config.settings import ActionSettings
from daemon.messages import Event, RunInfo
from daemon.output.command.output import Commands
action = ActionSettings(run=["sleep 60 & echo $! $$ > pid.new; mv pid.new pid; wait"], shell=True)
output = Commands({"left": action}, parallel=1, queue=1, timeout=50.0, on_failure=print)
output.open(RunInfo((), ("left",), frozenset(), (0.5,), "m", "b", 1.0, 0.24))
output.publish(Event("mic", "left", 0.0, 1.0, 0.9, 1.0))
time.sleep(60)
"""
    daemon = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert until((tmp_path / "pid").exists, 30)
    pids = [int(word) for word in (tmp_path / "pid").read_text().split()]
    assert all(alive(pid) for pid in pids)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(10)
    assert until(lambda: not any(alive(pid) for pid in pids), 5)


@pytest.mark.waits
def test_the_demo_runs_a_command_for_each_of_its_events(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "daemon", "replay", "--demo", "--speed", "max", "--headless"),
            *("--set", "command.parallel=1", "--on", "*=sh -c 'cat >> events'"),
            *("--on", "left=sh -c 'echo $INTENTD_INTENT >> left; exit 3'"),
        ],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [each["intent"] for each in events] == DEMO
    assert (tmp_path / "left").read_text() == "left\n"
    assert done.stderr == "intentd: warning: the command for left ended with status 3\n"
    assert all(Path(each["stream"]).name == "demo.flac" for each in events)
    assert Path(str(files("daemon"))).is_dir()


# ---- settings -----------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Sources]:
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Sources:
        Path("given.toml").write_text(text)
        return Sources(Path("given.toml"))

    return write


def test_commands_come_from_all_layers_each_as_a_whole(written: Callable[[str], Sources]) -> None:
    sources = written('[on.left]\nrun = ["a $X"]\nshell = true\n[on."*"]\nrun = ["b"]\n')
    sources = sources.having(*commands_by_intent(["left=c 'd e'"]))
    loaded = load_settings(sources, environ={"INTENTD_ON__UP__RUN": "f g"})
    assert {key: each.model_dump() for key, each in loaded.settings.on.actions.items()} == {
        "left": {"run": ["c", "d e"], "shell": False},
        "*": {"run": ["b"], "shell": False},
        "up": {"run": ["f", "g"], "shell": False},
    }
    assert str(loaded.origins["on.left"]) == "--on left"
    assert str(loaded.origins["on.*"]) == "given.toml"
    assert str(loaded.origins["on.up"]) == "INTENTD_ON__UP__RUN"
    set_ = Sources(assignments=('on.*.run=["x", "y z"]', "on.left.run=x 'y z'"), search=False)
    actions = load_settings(set_, environ={}).settings.on.actions
    assert [each.run for each in actions.values()] == [["x", "y z"]] * 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[on]\nleft = 3", ["on.left is 3", "a table, [on.left]"]),
        ("[on.left]", ["on.left has nothing to run", "give it run = a list"]),
        ("[on.left]\nrun = 'a b'", ['on.left.run is "a b"', "a list of a program"]),
        ("[on.left]\nrun = []", ["on.left.run is []"]),
        ("[on.left]\nrun = ['a', 3]", ["on.left.run is ['a', 3]"]),
        ("[on.left]\nrum = ['a']", ["on.left.rum is no setting", "did you mean run?"]),
        ("[on.left]\nrun = ['a']\nshell = 1", ["on.left.shell is 1", "true or false"]),
        ("[command]\nparallel = 0", ["command.parallel is 0", "1 to 64 commands"]),
    ],
)
def test_a_wrong_table_is_one_sentence(
    written: Callable[[str], Sources], text: str, parts: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(written(text), environ={})
    for part in ["given.toml", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["left"], "must look like INTENT=COMMAND"),
        (["left="], "must look like INTENT=COMMAND"),
        (["=a"], "must look like INTENT=COMMAND"),
        (["left=a 'b"], "close the quotation"),
        (["left=a", "left=b"], "--on left is given twice"),
    ],
)
def test_a_wrong_option_is_one_sentence(given: list[str], part: str) -> None:
    with pytest.raises(UserError) as caught:
        commands_by_intent(given)
    assert part in str(caught.value)


def test_a_command_for_a_word_that_the_model_lacks_is_refused(
    written: Callable[[str], Sources],
) -> None:
    loaded = load_settings(written('[on.lef]\nrun = ["a"]\n[on."*"]\nrun = ["a"]'), environ={})
    with pytest.raises(UserError, match=r'given\.toml: on names "lef".*did you mean left\?'):
        loaded.check_labels(["left", "right"])


def test_no_command_of_a_file_in_the_working_directory_is_run(
    written: Callable[[str], Sources], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be a stranger's; --config and the user's folder are not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "cfg"))
    text = '[on."*"]\nrun = ["touch", "run"]\n[gate]\nkind = "off"\n'
    Path("config.toml").write_text(text)
    loaded = load_settings(Sources(), environ={})
    assert not loaded.settings.on and loaded.settings.gate.kind == "off"
    (warning,) = loaded.warnings()
    assert warning.startswith("./config.toml has commands ([on])") and "--config" in warning
    named = load_settings(Sources(Path("config.toml")), environ={})
    assert named.settings.on and named.warnings() == []
    (tmp_path / "cfg" / "intentd").mkdir(parents=True)
    Path("config.toml").rename(tmp_path / "cfg" / "intentd" / "config.toml")
    assert load_settings(Sources(), environ={}).settings.on
