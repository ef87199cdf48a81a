"""Plain lines and texts shared with the dashboard; names are harmless."""

from __future__ import annotations

import io
import os
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.base.text import screen_text, utf8_text
from daemon.messages import Event, Gap, RunInfo, Status, StreamInfo, Summary, Verdict
from daemon.output.base import OutputClosed
from daemon.output.plain import Plain
from daemon.output.words import clock, event_time, milliseconds, summary_lines

SUMMARY = Summary(
    "a.wav", 30.0, 122, 60, 1, (Verdict("up", 0.9), Verdict("down", 0.06)),
    480000, 240000, 230000, 10000, 12.3, 30.04,
)  # fmt: skip


def plain(*names: str) -> tuple[Plain, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    output = Plain(out, err)
    streams = tuple(StreamInfo(name, 16000, 1, False) for name in names)
    labels = ("up", "right", "background noise")
    output.open(RunInfo(streams, labels, frozenset(labels[2:]), (0.5,) * 3, "m", "b", 1.0, 0.24))
    return output, out, err


def test_one_line_an_event_and_the_verdict_first() -> None:
    output, out, err = plain("a.wav")
    output.publish(Event("a.wav", "up", 61.04, 61.6, 0.934, 61.92))
    output.publish(SUMMARY)
    output.close()
    assert out.getvalue().splitlines() == [
        " 1:01.04  up     0.93",
        "a.wav: up 0.90, down 0.06",
        "  30.00 s, 122 windows, 60 of them without speech, 1 event",
        "  latency p50 12 ms, p99 30 ms",
        "  480000 samples captured: 240000 classified, 230000 gated; 10000 lost",
    ]
    assert err.getvalue() == ""


def test_with_several_streams_an_event_names_its_own() -> None:
    output, out, _ = plain("a.wav", "b.wav")
    output.publish(Event("b.wav", "up", 1, 2, 0.9, 2))
    assert out.getvalue().split() == ["0:01.00", "up", "0.90", "b.wav"]


def test_standard_output_can_belong_to_others() -> None:
    err = io.StringIO()
    output = Plain(None, err)
    output.publish(Event("a", "up", 1, 2, 0.9, 2))
    output.publish(SUMMARY)
    output.publish(Status("mic", "the device is gone", "warning"))
    output.close()
    assert err.getvalue() == "intentd: warning: mic: the device is gone\n"


def test_names_cannot_command_the_terminal() -> None:
    output, out, err = plain("a")
    evil = "\x1b]0;owned\x07\x1b[31m[bold]up[/]\nnext\u202e\r"
    output.publish(Event("a", evil, 1, 2, 0.9, 2))
    output.publish(Status(evil, evil, "error"))
    output.publish(Gap(evil, 1, 2, 3, evil))
    output.publish(Summary(evil, 1, 1, 0, 1, (Verdict(evil, 0.9),), 1, 1, 0, 0, None, None))
    output.close()
    for text in (out.getvalue(), err.getvalue()):
        assert all(character.isprintable() or character == "\n" for character in text)
        assert "[bold]up[/]\\nnext\\u202e\\r" in text and "\\x1b[31m" in text


def test_gaps_of_a_kind_soon_after_each_other_become_one_line() -> None:
    output, _, err = plain("mic")
    for start in range(100):
        output.publish(Gap("mic", start, start + 0.1, 1600, "overflow"))
    output.publish(Gap("mic", 200, 201, 16000, "hole"))
    output.close()
    lines = err.getvalue().splitlines()
    assert lines[0] == "intentd: mic: lost 1600 samples at 0:00.00: overflow"
    assert len(lines) < 25
    assert sum(int(text.split(" lost ")[1].split()[0]) for text in lines) == 100 * 1600 + 16000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_closed_reader_is_reported_and_python_stays_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out = os.fdopen(writer, "w")
    with pytest.raises(OutputClosed):
        Plain(out, io.StringIO()).publish(SUMMARY)
    out.close()  # flushes what is left once more, into nothing by now


def test_a_terminal_without_unicode_gets_escapes_and_no_error() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Plain(out, io.StringIO()).publish(Event("a", "größe", 1, 2, 0.9, 2))
    assert b"gr\\xf6\\xdfe" in raw.getvalue()


def test_clock_and_words() -> None:
    assert [clock(s) for s in (0, 7.99, 61, 3723.5, -1, float("nan"))] == [
        "0:00", "0:07", "1:01", "1:02:03", "0:00", "-:--",
    ]  # fmt: skip
    assert clock(0.3, 1) == "0:00.3" and clock(59.996, 2) == "0:59.99"
    assert [milliseconds(v) for v in (None, 3.21, 9.97, float("nan"))] == [
        "-",
        "3.2 ms",
        "10 ms",
        "-",
    ]
    assert summary_lines(
        Summary("a", 0, 0, 0, 0, (), 0, 0, 0, 0, None, None)
    )[0] == "a: nothing to judge"  # fmt: skip


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="POSIX time zones")
def test_live_events_are_dated_by_the_local_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Event("mic", "up", 1, 2, 0.9, 2, "2026-11-01T22:34:56.789Z")
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    try:
        assert event_time(live) == "17:34:56"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(st.characters()))
def test_screen_text_is_printable_and_says_the_same_twice(text: str) -> None:
    shown = screen_text(text)
    assert shown.isprintable()
    assert screen_text(shown) == shown
    if text.isprintable() and len(text) < 500:
        assert shown == text
    utf8_text(text).encode("utf-8")
