"""Strings are shown as they are, and a reader that leaves ends nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from rich.table import Table

from daemon.base.console import PlainConsole

ROOT = Path(__file__).parents[2]


def test_strings_are_shown_as_they_are() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, width=80)
    console.print("words [v2] [/stop] :smile: $x$ \x1b[2J")
    table = Table(title="runs/a[/b]")
    table.add_column("[bold]")
    table.add_row("[/stop]\nN=2")
    console.print(table)
    shown = file.getvalue()
    for text in (
        r"words [v2] [/stop] :smile: $x$ \x1b[2J",
        "runs/a[/b]",
        "[bold]",
        "[/stop]",
        "N=2",
    ):
        assert text in shown


def test_work_goes_on_when_nobody_reads_about_it() -> None:
    code = (
        "from daemon.base.console import PlainConsole\n"
        "console = PlainConsole(stderr=True)\n"
        "for number in range(5_000): console.print(f'line {number}')\n"
        "print('done')"
    )
    work = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert work.stderr is not None
    work.stderr.readline()
    work.stderr.close()
    assert work.stdout is not None
    assert work.stdout.read() == "done\n"
    assert work.wait(60) == 0
