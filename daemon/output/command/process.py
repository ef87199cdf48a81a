"""One command's life: its input, output, time limit and process group."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from daemon.base.errors import os_reason
from daemon.base.text import escaped
from daemon.output.command.reaper import Reaper, kill_group

log = logging.getLogger(__name__)

GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL."""
POLL = 0.05
"""Seconds between two looks whether what a command left in the background still runs."""
LOGGED_LINES = 100
"""Lines of one command's output that are logged."""
LONGEST_LINE = 500

HAS_GROUPS = hasattr(os, "killpg")


@dataclass(slots=True)
class _Tail:
    """The output of a command: logged up to a bound, then only read."""

    title: str
    lines: int = 0
    last: str = ""
    _rest: bytes = field(default=b"")

    def read(self, pipe: IO[bytes]) -> None:
        """Read to the end; a thread of its own runs this."""
        with contextlib.suppress(OSError, ValueError), pipe:
            while part := os.read(pipe.fileno(), 1 << 14):
                *whole, self._rest = (self._rest + part).split(b"\n")
                self._rest = self._rest[-LONGEST_LINE:]
                for line in whole[: max(0, LOGGED_LINES - self.lines)] or whole[-1:]:
                    self._add(line)
                self.lines += len(whole)
        if self._rest.strip():
            self._add(self._rest)

    def _add(self, line: bytes) -> None:
        text = escaped(line[:LONGEST_LINE].decode(errors="backslashreplace").strip())
        self.last = text or self.last
        if self.lines < LOGGED_LINES:
            log.info("%s: %s", self.title, text)


class Command:
    """A running command in its own process group, which ends with it.

    Everything that it starts belongs to that group.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        shell: bool,
        environment: Mapping[str, str],
        given: bytes,
        title: str,
        reaper: Reaper | None,
    ) -> None:
        """Start it with `given` on its standard input.

        Raises: OSError if it can't be started.
        """
        self._reaper = reaper
        self._process = subprocess.Popen(
            list(words),
            shell=shell,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0 if HAS_GROUPS else None,
        )
        if reaper is not None:
            reaper.began(self._process.pid)
        self._tail = _Tail(title)
        self._reader = threading.Thread(
            target=self._tail.read, args=(self._process.stdout,), name=title, daemon=True
        )
        self._reader.start()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it need not read; a pipe holds one event
            self._process.stdin.write(given)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have `wait` end it now."""
        self._stopped.set()

    def wait(self, seconds: float) -> str:
        """Wait `seconds` for its end, then end it; return why it failed.

        Empty if it did not.
        """
        end = time.monotonic() + seconds
        while self._runs() and time.monotonic() < end and not self._stopped.is_set():
            try:
                self._process.wait(min(0.5, POLL if self._exited else end - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
            if self._runs():
                self._stopped.wait(POLL)
        late = self._runs()
        if late:
            self._kill()
        if self._reaper is not None:
            self._reaper.ended(self._process.pid)
        self._reader.join(GRACE)
        if self._stopped.is_set() and late:
            return "was ended with intentd"
        if late:
            return f"took longer than {seconds:g} s"
        return self._reason()

    @property
    def _exited(self) -> bool:
        return self._process.returncode is not None

    def _runs(self) -> bool:
        """Whether the command, or what it left in the background, still runs."""
        if self._process.poll() is None:
            return True
        return HAS_GROUPS and kill_group(self._process.pid, 0)

    def _kill(self) -> None:
        if not HAS_GROUPS:
            self._process.kill()
            self._process.wait()
            return
        kill_group(self._process.pid, signal.SIGTERM)
        end = time.monotonic() + GRACE
        while self._runs() and time.monotonic() < end:
            time.sleep(POLL / 5)
        kill_group(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)

    def _reason(self) -> str:
        status = self._process.returncode
        if not status:
            return ""
        said = f": {self._tail.last}" if self._tail.last else ""
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-status).name}{said}"
        return f"ended with status {status}{said}"


def start_reason(error: OSError, program: str) -> str:
    """Why a program can't be started."""
    if isinstance(error, FileNotFoundError):
        return f"can't be started: there is no program {escaped(program)}"
    return f"can't be started: {os_reason(error)}"
