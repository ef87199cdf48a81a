"""Rich console that prints every string literally.

No markup, no emoji codes, no escapes.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from daemon.base.text import screen_text


class PlainConsole(Console):
    """Prints strings, also those in tables, with control characters visible.

    Styles are given as arguments or by `Text`, whose own text must be safe already.
    """

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, **rest: Any) -> None:
        super().__init__(
            stderr=stderr, file=file, markup=False, highlight=False, emoji=False, **rest
        )

    def render_str(self, text: str, **rest: Any) -> Text:
        """`text` as Rich renders it, line by line safe."""
        lines = (screen_text(line) for line in text.split("\n"))
        return super().render_str("\n".join(lines), **rest | {"markup": False, "emoji": False})

    def on_broken_pipe(self) -> None:
        """Print nothing from now on: work goes on when its reader has gone.

        Rich would end the program.
        """
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):  # a file without a descriptor
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.file.fileno())
            os.close(null)
