"""What native libraries print goes nowhere; what the program writes goes to the terminal."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from daemon.base.native_stderr import discard_native_stderr

print("before", file=sys.stderr)
with discard_native_stderr():
    os.write(2, b"Expression 'ret' failed\\n")
    print("said by us", file=sys.stderr)
os.write(2, b"after\\n")
print("and after", file=sys.stderr)
raise SystemExit(len(os.listdir("/proc/self/fd")) > 5)
"""


def test_native_messages_are_discarded_and_ours_are_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["before", "said by us", "after", "and after"]
