"""Options, completion and the default command of both command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from daemon import __version__
from train.cli import with_command

PROGRAMS = {"daemon": "intentd", "train": "intentd-train"}


def run(
    package: str, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", package, *arguments],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("package", "begun", "known"),
    [("daemon", "re", {"replay"}), ("train", "re", {"record", "report"})],
)
def test_a_shell_completes_commands(package: str, begun: str, known: set[str]) -> None:
    program = PROGRAMS[package]
    asked = {
        f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"{program} {begun}",
        "COMP_CWORD": "1",
    }
    done = run(package, env=asked)
    assert set(done.stdout.split()) == known, done.stderr


@pytest.mark.parametrize("package", PROGRAMS)
def test_both_print_the_version(package: str) -> None:
    done = run(package, "--version")
    assert (done.returncode, done.stdout) == (0, f"{PROGRAMS[package]} {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [("--log-file", "run.log", "--debug"), ("--debug", "--log-file=run.log")]
)
def test_a_recipe_behind_options_of_the_root_is_trained_by(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run("train", *arguments, "no-such-recipe", cwd=tmp_path)
    assert done.returncode == 2
    assert "No recipe 'no-such-recipe'" in done.stderr
    assert "UserError" in (tmp_path / "run.log").read_text()


def test_the_command_that_is_left_out_is_found(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert with_command(["mine.toml", "--force"]) == ["train", "mine.toml", "--force"]
    assert with_command([folder]) == ["words", folder]
    assert with_command(["--debug", folder]) == ["--debug", "words", folder]
    for complete in ([], ["--help"], ["report", "x", "y"], ["--debug"], ["--log-file"]):
        assert with_command(complete) == complete
