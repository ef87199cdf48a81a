"""Every command in a `sh` block of README and docs/ is run as it stands.

What takes minutes, or needs a fresh machine, a network or another program, stands in `console` and
`text` blocks; `ELSEWHERE` names the test of each such command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
from support.virtual_mic import VirtualMic, missing_packages

ROOT = Path(__file__).resolve().parent.parent
# training.md has a test of its own (tests/train/test_document.py).
DOCS = [page for page in (ROOT / "docs").glob("*.md") if page.name != "training.md"]
PAGES = [ROOT / "README.md", *sorted(DOCS)]
COMMANDS = sorted(
    {
        line
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    }
)
NEEDS_MICROPHONE = {"check", "devices", "live"}
ELSEWHERE = {
    "README.md": {
        "intentd-train record lights music next": "live/test_own_words.py",
        "intentd-train words words": "live/test_own_words.py",
        "intentd live --model runs/words": "live/test_own_words.py",
    },
    "accuracy.md": {
        "intentd-train evaluate daemon/bundled/commands commands --set root=data": (
            "train/commands/test_training_commands.py"
        ),
        "intentd-train orders --folds": "train/commands/test_training_commands.py",
        "python tools/open_world.py": "train/test_make_model.py",
        "python tools/few_shot.py": "train/test_make_model.py",
    },
    "clients.md": {
        "intentd serve tcp://0.0.0.0:10400": "serve/test_serve_run.py",
        "wyoming-satellite --name kitchen": "serve/test_satellite.py",
    },
    "commands.md": {
        "intentd replay --demo --headless --speed max --set command.parallel=1": "test_readme.py",
        "intentd service install --write ~/spoken": "service/test_unit.py",
    },
    "data.md": {"python tools/fetch_data.py data": "train/data/test_fetch_data.py"},
    "export.md": {"intentd-train export runs/words --to onnx": "train/commands/test_export.py"},
    "metrics.md": {"intentd replay --demo": "output/test_metrics.py"},
    "mqtt.md": {
        "mosquitto_sub -t": "output/mqtt/test_mqtt.py",
        "intentd replay --demo": "output/mqtt/test_mqtt.py",
    },
    "sound.md": {"python tools/measure_sound.py --root data": "train/test_measure_sound.py"},
    "speed.md": {"intentd bench": "commands/test_bench.py"},
    "training.md": {"intentd": "train/test_document.py"},
    "tutorial.md": {
        "make demo": "commands/test_demo.py",
        "intentd replay meeting.wav": "test_readme.py",
    },
    "verifier.md": {"intentd-train verifier": "train/test_verifier_training.py"},
    "webhook.md": {
        "python receiver.py": "output/test_webhook.py",
        "intentd replay --demo": "output/test_webhook.py",
    },
}
"""Page, then how commands of it begin, to the file below tests/ that runs their like."""
UNTESTED = {
    "pipx install .": "fetches packages",
    "python3 -m venv .venv": "fetches packages",
    "python tools/own_words.py": "needs hours of recordings",
}
"""How the commands begin that no test runs, and why."""
PROGRAMS = ("intentd", "intentd-train", "make", "mosquitto_sub", "pipx", "python", "python3")
# They go on until they are ended; what they serve and draw is tested in tests/serve.
GO_ON = {"serve", "top"}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the recordings that the documents name."""
    import soundfile

    demo = Path(str(files("daemon"))) / "bundled" / "demo.flac"
    samples, rate = soundfile.read(demo, frames=4 * 16000)
    soundfile.write(tmp_path / "meeting.wav", samples, rate)
    for name in ("one.flac", "two.flac"):
        soundfile.write(tmp_path / name, samples, rate)
    return tmp_path


def environment(desk: Path, base: dict[str, str] | None = None) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = {"HOME": str(desk), "XDG_CONFIG_HOME": str(desk / "cfg"), "PATH": path}
    return {**(base or os.environ), **home}


def word(command: str) -> str:
    return command.split()[1]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 8
    assert "make demo" in COMMANDS
    assert "make test" in COMMANDS


def shown(page: Path) -> list[str]:
    """Commands in a page's `console` and `text` blocks."""
    found = []
    text = page.read_text(encoding="utf-8")
    for kind, block in re.findall(r"```(console|text)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            typed = line.removeprefix("$ ")
            is_command = kind == "console" or line.startswith("$ ")
            if is_command and typed.split(" ")[0] in {*PROGRAMS, "wyoming-satellite"}:
                found.append(typed)
    return found


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "docs" / "training.md"], ids=lambda page: page.name
)
def test_a_test_is_known_of_every_command_that_is_not_run_here(page: Path) -> None:
    known = ELSEWHERE.get(page.name, {})
    commands = shown(page)
    for command in commands:
        assert command.startswith((*known, *UNTESTED)), f"which test runs it? {command}"
    for begun, file in known.items():
        assert any(command.startswith(begun) for command in commands), f"gone: {begun}"
        assert (ROOT / "tests" / file).is_file()


@pytest.mark.waits
def test_the_script_for_a_command_does_what_its_page_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(\$ cat spoken\.sh\n.*?)```", page, re.DOTALL)
    script = re.search(r"^#!.*?(?=^\$)", block, re.DOTALL | re.MULTILINE)
    replay = re.search(r"^\$ (intentd .*)$", block, re.MULTILINE)
    last = block.splitlines()[-1]
    assert script and replay
    (tmp_path / "spoken.sh").write_text(script[0])
    (tmp_path / "spoken.sh").chmod(0o755)
    done = subprocess.run(
        replay[1], shell=True, cwd=tmp_path, env=environment(tmp_path), capture_output=True,
        text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "spoken.txt").read_text().splitlines()
    assert len(lines) == 7
    folder = str(Path(str(files("daemon"))) / "bundled")
    printed = lines[-1].replace(folder, "…")
    assert without_scores(printed) == without_scores(last)
    # Backends differ in the last digits of a score.
    for name in ("score", "verified"):
        ours, shown = (json.loads(each.split(": ", 1)[1])[name] for each in (printed, last))
        assert ours == pytest.approx(shown, abs=1e-4)


def without_scores(line: str) -> str:
    return re.sub(r'("(?:score|verified)"):[\d.]+', r"\1", line)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_knows_its_targets(command: str) -> None:
    done = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "intentd replay --demo" in done.stdout or "pytest" in done.stdout


@pytest.mark.waits
@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if not c.startswith("make ") and word(c) not in NEEDS_MICROPHONE | GO_ON],
)
def test_the_command_works(command: str, desk: Path) -> None:
    done = subprocess.run(
        command, shell=True, cwd=desk, env=environment(desk), capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
    expected = 2 if command == "intentd status" else 0  # 2: no daemon is running here
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.waits
@pytest.mark.parametrize("command", [c for c in COMMANDS if word(c) == "serve"])
def test_the_command_listens(command: str, desk: Path) -> None:
    process = subprocess.Popen(
        command.split(), cwd=desk, env=environment(desk), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "listening to clients at" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.live
@pytest.mark.skipif(
    bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
)
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if not c.startswith("make ") and word(c) in NEEDS_MICROPHONE]
)
def test_the_command_works_with_a_microphone(command: str, desk: Path) -> None:
    assert shutil.which("intentd", path=environment(desk)["PATH"])
    with VirtualMic() as mic:
        # A microphone is never quite silent; `check` would take that for a muted one.
        mic.play(Path(str(files("daemon"))) / "bundled" / "demo.flac")
        process = subprocess.Popen(
            command.split(), cwd=desk,
            env={**environment(desk, mic.env), "XDG_RUNTIME_DIR": str(desk)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if word(command) == "live":
            end = time.monotonic() + 120
            while not list(desk.glob("intentd/*.sock")) and time.monotonic() < end:
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            assert list(desk.glob("intentd/*.sock"))
            time.sleep(1)
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, out + errors
