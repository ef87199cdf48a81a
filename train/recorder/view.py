"""Display of a recording session: a screen, or plain lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from rich.align import Align
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from train.recorder.session import Prompt

KEYS = "b back   a again   p play   s skip   d done"
FLOOR = -60.0
"""dBFS at the left end of the meter."""
BAR = 40
SAY = {
    "word": "Say",
    "near": "Say (it only sounds alike)",
    "talk": "Now please",
    "room": "Now please",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is shown."""

    prompt: Prompt
    done: int
    wanted: int
    level: float
    """RMS of the last block, dBFS."""
    peak: float
    speaking: bool
    left: float
    """Seconds that are still to be recorded, of prompts that have a length."""
    device: str
    folder: str


class View(Protocol):
    """Shows a recording session."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, picture: Picture) -> None: ...

    def say(self, sentence: str, good: bool) -> None:
        """Show the result of a take, or news of the device."""
        ...


class Lines:
    """Line by line, for terminals that can no more, files and screen readers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[Prompt, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, picture: Picture) -> None:
        if (picture.prompt, picture.done) == self._shown:
            return
        self._shown = (picture.prompt, picture.done)
        number = f"({picture.done + 1} of {picture.wanted})"
        length = f" for {picture.prompt.seconds:g} s" if picture.prompt.seconds else ""
        self._print(f"{SAY[picture.prompt.kind]}: {picture.prompt.text}{length} {number}")

    def say(self, sentence: str, good: bool) -> None:
        self._print(f"  {sentence}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Screen:
    """The word to be said in the middle, the level below, keys at the bottom."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._news = Text("")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, picture: Picture) -> None:
        self._live.update(render(picture, self._news), refresh=True)

    def say(self, sentence: str, good: bool) -> None:
        self._news = Text(sentence, "green" if good else "bold yellow")


def render(picture: Picture, news: Text) -> Panel:
    """The screen of a session."""
    prompt = picture.prompt
    said = Text(prompt.text, "bold cyan" if prompt.kind == "word" else "bold")
    if picture.left:
        said.append(f"   {picture.left:.0f} s", "dim")
    meter = Table.grid(padding=(0, 1))
    share = max(0.0, min(1.0, (picture.level - FLOOR) / -FLOOR))
    full = round(BAR * share)
    loud = "red" if picture.peak > -0.3 else "green" if picture.speaking else "dim"
    meter.add_row(
        Text("█" * full + "·" * (BAR - full), loud),
        Text(f"{max(picture.level, -99.0):4.0f} dB", "dim"),
        Text("speech" if picture.speaking else "", "green"),
    )
    done = Table.grid(padding=(0, 1))
    done.add_row(
        ProgressBar(max(1, picture.wanted), picture.done, width=BAR),
        Text(f"{picture.done} of {picture.wanted}", "dim"),
    )
    body = Group(
        Text(""),
        Align.center(Text(SAY[prompt.kind], "dim")),
        Text(""),
        Align.center(said),
        Text(""),
        Align.center(meter),
        Text(""),
        Align.center(news),
        Text(""),
        Align.center(done),
        Text(""),
        Align.center(Text(KEYS, "dim")),
        Align.center(Text(f"{picture.device}   {picture.folder}", "dim")),
    )
    return Panel(body, title="intentd-train record", border_style="dim")
