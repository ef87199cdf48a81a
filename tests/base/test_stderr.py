"""Standard error: native libraries' is discarded, ours is shown."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from daemon.base.stderr import discard_native_stderr

print("before", file=sys.stderr)
with discard_native_stderr():
    os.write(2, b"Expression 'ret' failed\\n")
    print("said by us", file=sys.stderr)
os.write(2, b"after\\n")
print("and after", file=sys.stderr)
raise SystemExit(len(os.listdir("/proc/self/fd")) > 5)
"""


def test_what_native_libraries_write_is_discarded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["before", "said by us", "after", "and after"]
