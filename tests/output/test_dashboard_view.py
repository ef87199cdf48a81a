"""The picture: fits every screen, tells what it should, obeys no name."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from support.pictures import feed, lines, lose, rolling, run_info, terminal

from daemon.messages import Level, Prediction, Status, Summary
from daemon.output.base import OutputHealth
from daemon.output.dashboard import DashboardState, export_svg
from daemon.output.dashboard.canvas import Frame
from daemon.output.dashboard.theme import Theme, theme_for
from daemon.output.dashboard.view import frame

THEME = theme_for(terminal())
SIZES = [(80, 24), (200, 60), (20, 5), (1, 1), (44, 13), (43, 13), (81, 25), (500, 10), (30, 100)]


def check_fits(picture: Frame, width: int, height: int) -> None:
    rows = lines(picture)
    assert len(rows) == height
    for row in rows:
        assert cell_len(row) == width
        assert row.isprintable()


def picture(state: DashboardState, now: float, width: int = 80, height: int = 24) -> str:
    drawn = frame(state, width, height, now, THEME)
    check_fits(drawn, width, height)
    return "\n".join(lines(drawn))


def row_of(text: str, *words: str) -> str:
    return next(row for row in text.splitlines() if all(word in row for word in words))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("streams", [1, 2, 7, 100])
def test_every_size_is_filled_and_never_overflown(size: tuple[int, int], streams: int) -> None:
    state = DashboardState(run_info(*(f"kitchen_{i}.wav" for i in range(streams))), 0.0)
    now = feed(state, 12.0)
    lose(state, now)
    state.select(streams // 2)
    check_fits(frame(state, *size, now, THEME), *size)


@settings(max_examples=60)
@given(
    st.lists(st.text(st.characters(), max_size=60), min_size=1, max_size=4, unique=True),
    st.lists(st.text(st.characters(), max_size=40), min_size=3, max_size=20, unique=True),
    st.text(st.characters(), max_size=40),
    st.integers(1, 230),
    st.integers(1, 70),
    st.booleans(),
)
def test_any_name_fits_any_screen(
    names: list[str], labels: list[str], text: str, width: int, height: int, ascii_only: bool
) -> None:
    theme = theme_for(terminal(encoding="ascii")) if ascii_only else THEME
    state = DashboardState(run_info(*names, labels=tuple(labels), model=text), 0.0)
    now = feed(state, 8.0)
    state.apply(Status(names[0], text, "warning"), now)
    drawn = frame(state, width, height, now, theme)
    check_fits(drawn, width, height)
    if ascii_only:
        assert all(row.isascii() for row in lines(drawn))


def test_a_rich_console_prints_the_frame_as_it_is() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    now = feed(state)
    for size in ((80, 24), (200, 60)):
        console = terminal(*size)
        console.print(frame(state, *size, now, THEME), end="")
        assert isinstance(console.file, io.StringIO)
        printed = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).split("\n")
        assert printed == lines(frame(state, *size, now, THEME))


def test_at_80_by_24_everything_that_matters_is_shown() -> None:
    state = DashboardState(run_info("Built-in Audio"), 0.0)
    now = feed(state)
    state.load = 0.04
    lose(state, now)
    state.apply(Level("Built-in Audio", -23.4, -9.0, True, 30.0), now)
    text = picture(state, now)
    assert "listening" in text and "commands" in text and "torch fp32" in text
    assert row_of(text, "Built-in Audio", "48 kHz", "stereo", "0:30")
    assert row_of(text, "-23 dB", "speech")
    for label in state.run.labels:
        assert re.search(rf"^ {label} .* \d\.\d\d ", text, re.MULTILINE)
    assert row_of(text, "-60 s", "-30 s", "now")
    assert row_of(text, "0:25.20", "zero", "0.80")
    assert row_of(text, "lost 0.50 s: overflow")
    health = row_of(text, "latency")
    assert "11 ms p50" in health and "16 ms p99" in health and "rtf 0.04" in health
    assert "lost 0.5 s" in health and f"windows {state.windows}" in health and "up 0:30" in health
    assert row_of(text, "space pause", "q quit")


def test_bars_have_their_length_and_the_threshold_its_place() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    values = rolling(state, up=1.0, down=0.5, left=0.61, unknown=0.3)
    state.apply(Prediction("mic", 0, 1, False, values, values, 1.0), 1.0)
    text = picture(state, 1.0, 120, 40)
    tracks = {
        row.split()[0]: row.split()[1]
        for row in text.splitlines()
        if re.match(r" \S+ +[━╸─┼╋]+ +\d\.\d\d", row)
    }
    width = len(tracks["up"])
    assert all(len(track) == width for track in tracks.values()) and width >= 20
    assert tracks["up"].count("━") == width - 1
    mark = int(0.6 * width)
    assert tracks["up"][mark] == tracks["left"][mark] == "╋"
    assert tracks["down"][mark] == tracks["go"][mark] == "┼"
    assert sum(tracks["down"].count(c) for c in "━╸") == pytest.approx(width / 2, abs=1)
    # What is no intent has no threshold.
    assert set(tracks["unknown"]) <= set("━╸─")


def test_widths_do_not_move_with_the_figures() -> None:
    """The same places for the same things, whatever the values."""
    state = DashboardState(run_info("mic"), 0.0)
    shapes = set()
    for value in (0.0, 0.004, 0.5, 0.999, 1.0):
        for level in (-120.0, -60.0, -9.4, 0.0, 3.0):
            values = rolling(state, up=value)
            state.apply(Prediction("mic", 0, 1, False, values, values, 900 * value), 1.0)
            state.apply(Level("mic", level, level, value > 0.5, 1.0), 1.0)
            text = picture(state, 1.0)
            bar_row, meter_row = (
                row_of(text, " up "),
                row_of(text, " dB" if level > -60 else "< -60"),
            )
            shapes.add((bar_row.index("  0.") if value < 0.99 else None, len(meter_row.rstrip())))
    assert len({shape[0] for shape in shapes if shape[0] is not None}) == 1


def styles_of(drawn: Frame, word: str) -> set[str]:
    return {
        str(segment.style) for row in drawn.rows for segment in row if segment.text.strip() == word
    }


def test_a_new_event_stands_out_for_a_moment() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    feed(state, 6.5, levels=False)
    during = frame(state, 80, 24, 6.1, THEME)
    after = frame(state, 80, 24, 9.0, THEME)
    assert any("reverse" in style for style in styles_of(during, "down"))
    assert not any("reverse" in style for style in styles_of(after, "down"))


def test_state_of_listening_is_shown_in_words() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    assert "hears nothing for 5 s" in picture(state, 5.0)
    assert "no sound for 5 s" in picture(state, 5.0)
    state.pause(True, 5.0)
    text = picture(state, 9.0)
    assert "paused" in text.splitlines()[0] and "space listen" in text
    state.pause(False, 9.0)
    state.apply(Status("mic", "the microphone is gone, trying again", "warning"), 9.5)
    assert row_of(picture(state, 9.6), "mic", "the microphone is gone")
    state.apply(Summary("mic", 1, 1, 0, 0, (), 1, 1, 0, 0, None, None), 10.0)
    assert "done" in picture(state, 11.0).splitlines()[0]
    replay = DashboardState(run_info("a.wav", live=False), 0.0)
    text = picture(replay, 60.0)
    assert "replaying" in text and "0:00 / 1:35" in text


def test_markup_and_escapes_in_names_are_shown_as_they_are() -> None:
    labels = ("[bold red]up[/]", "\x1b[31mdown", ":smile:", "background")
    state = DashboardState(run_info("[link=x]mic[/]\x1b]0;t\x07", labels=labels), 0.0)
    now = feed(state, 8.0)
    text = picture(state, now, 120, 40)
    assert "[bold red]up[/]" in text and "\\x1b[31mdown" in text and ":smile:" in text
    assert "[link=x]mic[/]\\x1b]0;t\\x07" in text
    console = terminal(120, 40)
    console.print(frame(state, 120, 40, now, THEME), end="")
    assert isinstance(console.file, io.StringIO)
    # Nothing but styles of our own.
    assert not re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).count("\x1b")


def test_a_hundred_streams_can_all_be_reached() -> None:
    state = DashboardState(run_info(*(f"room {i:03d}" for i in range(100))), 0.0)
    feed(state, 3.0)
    seen: set[str] = set()
    for _ in range(100):
        text = picture(state, 3.0)
        chosen = row_of(text, "▸")
        name = re.findall(r"room \d{3}", chosen)[0]
        seen.add(name)
        assert row_of(text, "scores", name)
        state.select(1)
    assert len(seen) == 100
    assert "of 100 streams" in text
    state.select(-1000)
    assert "1 to " in picture(state, 3.0)


def test_too_many_labels_show_the_latest_in_their_order() -> None:
    labels = tuple(f"order {i:02d}" for i in range(60))
    state = DashboardState(run_info("mic", labels=labels), 0.0)
    values = np.zeros(60, np.float32)
    values[[50, 33]] = 0.5, 0.4
    state.apply(Prediction("mic", 0, 1, False, values, values, 1.0), 1.0)
    rows = [row for row in picture(state, 1.0).splitlines() if row.startswith(" order")]
    shown = [row.split("  ")[0].strip() for row in rows]
    assert {"order 33", "order 50"} < set(shown) and shown == sorted(shown)


def colours(theme: Theme, state: DashboardState, now: float, **options: str) -> str:
    console = terminal(80, 24, **options)  # type: ignore[arg-type]
    console.print(frame(state, 80, 24, now, theme), end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_sixteen_colours_are_enough_and_so_is_none() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    now = feed(state)
    lose(state, now)
    sixteen = colours(theme_for(terminal(colours="standard")), state, now, colours="standard")
    assert "38;" not in sixteen and "\x1b[3" in sixteen
    bare = terminal(environ={"NO_COLOR": "1"})
    none = colours(theme_for(bare), state, now)
    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", none) for code in found.split(";")}
    assert codes <= {"0", "1", "2", "7"}
    # Without colour speech, gaps and events are still told apart.
    text = re.sub(r"\x1b\[[0-9;]*m", "", none)
    assert "░" in text and row_of(text, "down", "left", "right", "go")


def test_a_terminal_without_unicode_gets_ascii() -> None:
    theme = theme_for(terminal(encoding="iso8859-1"))
    state = DashboardState(run_info("größe", labels=("grün", "up", "b")), 0.0)
    now = feed(state)
    drawn = frame(state, 80, 24, now, theme)
    check_fits(drawn, 80, 24)
    assert all(row.isascii() for row in lines(drawn))
    assert "gr??e" in "\n".join(lines(drawn))


def test_the_picture_can_be_exported(tmp_path: Path) -> None:
    state = DashboardState(run_info("<mic & co>"), 0.0)
    now = feed(state)
    path = tmp_path / "dashboard.svg"
    export_svg(state, path, 100, 30, now)
    svg = path.read_text("utf-8")
    assert svg.startswith("<svg") and "listening" in svg and "&lt;mic" in svg


def test_the_health_row_tells_how_the_outputs_are() -> None:
    state = DashboardState(run_info("mic"), 0.0)
    assert "outputs" not in picture(state, 1.0)
    good = OutputHealth("MQTT", True, 0, 0, "connected")
    for outputs, shown in (
        ((good, good), "outputs 2 on"),
        ((good, replace(good, working=False)), "outputs 1 off"),
    ):
        state.outputs = outputs
        assert shown in picture(state, 1.0, width=120)
