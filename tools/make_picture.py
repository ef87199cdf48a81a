"""Takes the README's picture of the dashboard during a real replay.

The replay is that of the demo recording.

python tools/make_picture.py docs/dashboard.svg
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from daemon.cli import run
from daemon.commands.replay import DEMO
from daemon.output import registry
from daemon.output.base import OutputContext
from daemon.output.dashboard import Dashboard
from daemon.output.dashboard.dashboard import export_svg

AT_SECONDS = 28.3
WIDTH, HEIGHT = 100, 28


class Camera(Dashboard):
    """A dashboard that shows itself once, to a file."""

    target = Path("dashboard.svg")

    def run_until(self, stop: threading.Event, tick: Callable[[], None] = lambda: None) -> None:
        begun, taken = time.monotonic(), False
        while not stop.wait(0.05):
            tick()
            if not taken and time.monotonic() - begun > AT_SECONDS and self.state is not None:
                with self._lock:
                    export_svg(self.state, self.target, WIDTH, HEIGHT)
                taken = True


def make(context: OutputContext) -> Camera:
    camera = Camera(context.controls)
    context.screen = camera
    return camera


def main() -> None:
    Camera.target = Path(sys.argv[1]).resolve()

    picture = registry.OutputKind("picture", "__main__:make")
    registry.OUTPUTS = (picture,)  # type: ignore[misc, assignment]
    os.chdir(DEMO.parent)
    sys.exit(run(["replay", DEMO.name]))


if __name__ == "__main__":
    main()
