"""Every command in a `sh` block of the README and of docs/ is run as it stands there.

What takes minutes or needs a fresh machine (training, installing) stands in `console` blocks.
"""

from __future__ import annotations

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
            command.split(), cwd=desk, env=environment(desk, mic.env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if word(command) == "live":
            time.sleep(8)
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, out + errors
