"""Runs a program as a shell does, as the terminal's foreground job.

The terminal is this session's. Arguments: a file for the program's process id, then the program
with its arguments.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path


def main() -> int:
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    child = subprocess.Popen(sys.argv[2:], process_group=0)
    Path(sys.argv[1]).write_text(str(child.pid))
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(1, child.pid)
    os.kill(child.pid, signal.SIGCONT)
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
