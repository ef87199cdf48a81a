"""Messages that come again and again, and lines as the journal reads them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.base.journal import complain, journal_line, leads_to_journal
from daemon.messages import Gap, Status
from daemon.output.plain import Plain
from daemon.output.repeats import Repeats


def test_what_differs_in_figures_only_is_one_kind() -> None:
    repeats = Repeats(burst=2, period=10.0)
    assert repeats.admit("back after 1.2 s", 0.0) == (True, 0)
    assert repeats.admit("back after 0.9 s", 1.0) == (True, 0)
    assert repeats.admit("back after 12:03 s", 2.0) == (False, 0)
    assert repeats.admit("lost", 2.0) == (True, 0)
    assert repeats.held() == 1
    assert repeats.admit("back after 7 s", 10.5) == (True, 1)
    assert repeats.held() == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=200))
def test_everything_is_published_or_counted(script: list[tuple[str, float]]) -> None:
    repeats = Repeats(burst=3, period=20.0)
    now, said, told = 0.0, 0, 0
    for text, wait in script:
        now += wait
        admitted, held = repeats.admit(text, now)
        said += admitted
        told += held
    assert said + told + repeats.held() == len(script)


def test_kinds_without_end_take_no_memory_without_end() -> None:
    repeats = Repeats()
    for number in range(5000):
        repeats.admit("x" * number, 0.0)
    assert len(repeats._kinds) <= 201


def test_a_flapping_device_does_not_flood_the_log() -> None:
    err = io.StringIO()
    now = [0.0]
    plain = Plain(None, err, clock=lambda: now[0])
    for _ in range(600):
        now[0] += 0.5
        plain.publish(Status(None, f"the microphone is lost ({now[0]:.1f})", "warning"))
        plain.publish(Status(None, f"it is back after {now[0] / 7:.2f} s"))
    plain.close()
    lines = err.getvalue().splitlines()
    # 300 s of it: five or six periods of at most twenty lines of each of the two kinds.
    assert 200 <= len(lines) <= 245
    held = sum(int(line.split("(")[-1].split()[0]) for line in lines if "more like it" in line)
    last = int(lines[-1].split()[1]) if "like those before" in lines[-1] else 0
    said = len(lines) - bool(last)
    assert said + held + last == 1200


def test_the_journal_gets_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+") as err:
        found = os.fstat(err.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert leads_to_journal(err)
        plain = Plain(None, err)
        plain.publish(Status("mic", "it is lost", "warning"))
        plain.publish(Status(None, "it is broken", "error"))
        plain.publish(Status(None, "it is back"))
        plain.publish(Gap("mic", 1.0, 2.0, 16000, "device lost"))
        plain.close()
        err.seek(0)
        assert err.read().splitlines() == [
            "<4>mic: it is lost",
            "<3>it is broken",
            "<6>it is back",
            "<4>mic: lost 16000 samples at 0:01.00: device lost",
        ]


def test_a_redirected_stderr_is_no_journal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as err:
        assert not leads_to_journal(err, {"JOURNAL_STREAM": "1:2"})
        assert not leads_to_journal(err, {})
    assert not leads_to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
    assert journal_line("x", "unheard of") == "<6>x"


def test_a_last_word_has_its_priority_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complain("it is \x1b[31mbroken")
    assert capsys.readouterr().err == "intentd: it is \\x1b[31mbroken\n"
    with (tmp_path / "journal").open("w+") as err:
        found = os.fstat(err.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        monkeypatch.setattr("sys.stderr", err)
        complain("it is broken")
        complain("take care", "warning")
        err.seek(0)
        assert err.read() == "<3>it is broken\n<4>take care\n"
    complain("nobody hears this")  # that stderr is closed by now
