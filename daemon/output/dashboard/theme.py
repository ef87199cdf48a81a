"""Colours and glyphs, from true colour and Unicode down to plain ASCII.

No fact is shown by colour alone: marks, letters and figures show the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.style import Style


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters for bars, rules and timeline, each string one cell wide."""

    heavy: str
    half: str
    light: str
    rule: str
    mark: str
    mark_on: str
    peak: str
    levels: str
    """From empty to full; eight steps above the first."""
    gap: str
    dot: str
    hollow: str
    pause: str
    chosen: str
    cut: str
    between: str


UNICODE = Glyphs(
    heavy="━",
    half="╸",
    light="─",
    rule="─",
    mark="┼",
    mark_on="╋",
    peak="┃",
    levels=" ▁▂▃▄▅▆▇█",
    gap="░",
    dot="●",
    hollow="○",
    pause="‖",
    chosen="▸",
    cut="…",
    between="·",
)
ASCII = Glyphs(
    heavy="=",
    half="-",
    light=".",
    rule="-",
    mark=":",
    mark_on="|",
    peak="|",
    levels=" _.:-=+*#",
    gap="x",
    dot="*",
    hollow="o",
    pause="=",
    chosen=">",
    cut="~",
    between="-",
)


@dataclass(frozen=True, slots=True, eq=False)
class Theme:
    """Styles by role, and the glyphs; one instance a terminal.

    Compared by identity.
    """

    glyphs: Glyphs
    ascii: bool
    brand: Style
    text: Style
    quiet: Style
    """Labels, units, whatever is not the news."""
    faint: Style
    """Rules, tracks, silence."""
    title: Style
    key: Style
    good: Style
    warning: Style
    error: Style
    speech: Style
    threshold: Style
    bar: Style
    flash: Style
    intents: tuple[Style, ...]

    def intent(self, label: int) -> Style:
        return self.intents[label % len(self.intents)]

    def level(self, level: str) -> Style:
        """The style of a status by its level."""
        return {"warning": self.warning, "error": self.error}.get(level, self.quiet)


def theme_for(console: Console) -> Theme:
    """Theme for a console's colour system and encoding; honours NO_COLOR."""
    ascii_only = not console.encoding.lower().startswith("utf")
    if console.no_color or console.color_system is None:
        return _mono(ascii_only)
    if console.color_system in {"standard", "windows"}:
        return _sixteen(ascii_only)
    return _many(ascii_only)


def _many(ascii_only: bool) -> Theme:
    # Middle lightness throughout, so that light and dark backgrounds both carry it.
    intents = (
        "#3fa7d6",
        "#e0863c",
        "#4fae68",
        "#c06ac2",
        "#d0a215",
        "#2fa8a0",
        "#e0637c",
        "#7d87e0",
        "#8aa63c",
        "#c97b52",
    )
    return Theme(
        glyphs=ASCII if ascii_only else UNICODE,
        ascii=ascii_only,
        brand=Style.parse("bold #3fa7d6"),
        text=Style.null(),
        quiet=Style.parse("#808890"),
        faint=Style.parse("#565d64"),
        title=Style.parse("#8b98a5"),
        key=Style.parse("bold"),
        good=Style.parse("#4fae68"),
        warning=Style.parse("#d0a215"),
        error=Style.parse("bold #e0574f"),
        speech=Style.parse("#5f8fb4"),
        threshold=Style.parse("#9aa3ab"),
        bar=Style.parse("#6f7f8d"),
        flash=Style.parse("bold reverse"),
        intents=tuple(Style.parse(f"{colour}") for colour in intents),
    )


def _sixteen(ascii_only: bool) -> Theme:
    names = ("cyan", "yellow", "green", "magenta", "bright_blue", "bright_red", "bright_green")
    return Theme(
        glyphs=ASCII if ascii_only else UNICODE,
        ascii=ascii_only,
        brand=Style.parse("bold cyan"),
        text=Style.null(),
        quiet=Style.null(),
        faint=Style.parse("bright_black"),
        title=Style.parse("bright_black"),
        key=Style.parse("bold"),
        good=Style.parse("green"),
        warning=Style.parse("yellow"),
        error=Style.parse("bold red"),
        speech=Style.parse("blue"),
        threshold=Style.null(),
        bar=Style.parse("blue"),
        flash=Style.parse("bold reverse"),
        intents=tuple(Style.parse(name) for name in names),
    )


def _mono(ascii_only: bool) -> Theme:
    plain, dim, bold = Style.null(), Style.parse("dim"), Style.parse("bold")
    return Theme(
        glyphs=ASCII if ascii_only else UNICODE,
        ascii=ascii_only,
        brand=bold,
        text=plain,
        quiet=plain,
        faint=dim,
        title=dim,
        key=bold,
        good=plain,
        warning=bold,
        error=Style.parse("bold reverse"),
        speech=plain,
        threshold=plain,
        bar=plain,
        flash=Style.parse("bold reverse"),
        intents=(bold,),
    )
