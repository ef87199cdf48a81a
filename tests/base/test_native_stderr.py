"""What native libraries print goes to the log; what we say goes to the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from pathlib import Path
from daemon.base.native_stderr import native_noise_to

print("before", file=sys.stderr)
with native_noise_to(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
    os.write(2, b"Expression 'ret' failed\\n")
    print("said by us", file=sys.stderr)
os.write(2, b"after\\n")
print("and after", file=sys.stderr)
raise SystemExit(len(os.listdir("/proc/self/fd")) > 5)
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_native_noise_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "native.log"
    assert run(str(log)).splitlines() == ["before", "said by us", "after", "and after"]
    assert log.read_text() == "Expression 'ret' failed\n"
    run(str(log))
    assert log.read_text().count("Expression") == 2, "appended"
    assert log.stat().st_mode & 0o077 == 0


def test_native_noise_goes_nowhere_without_a_log_or_with_a_bad_one(tmp_path: Path) -> None:
    for arguments in ((), (str(tmp_path / "no" / "folder.log"),)):
        assert run(*arguments).splitlines() == ["before", "said by us", "after", "and after"]
