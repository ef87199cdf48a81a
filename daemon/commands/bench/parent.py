"""The bench's end of its children."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from daemon.base.errors import UserError


class Child:
    """A subject in its own process; see `daemon.commands.bench.child`."""

    def __init__(self, **what: Any) -> None:
        """Start it; `ready` waits for it. Several can be starting at once."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", "daemon.commands.bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.about: dict[str, Any] = {}
        """The child's first answer; filled on entering."""
        self._what = what

    def __enter__(self) -> Child:
        self.about = self.ask(**self._what)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, **order: Any) -> dict[str, Any]:
        """The figures of an order. Raises `UserError` with the child's sentence."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order, default=str) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it tells why on its output
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"a measuring process died: {lines[-1] if lines else 'no message'}")
        figures: dict[str, Any] = json.loads(answer)
        if "error" in figures:
            raise UserError(str(figures["error"]))
        return figures
