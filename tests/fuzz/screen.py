"""Checks all that a run prints: harmless lines, strict JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

from daemon.messages import Level, Message, Status
from daemon.output.line_format import LineFormat
from daemon.output.plain import Plain

LONGEST = 6000


def check_text(text: str, what: str) -> None:
    """AssertionError if `text` holds anything that a terminal would obey."""
    bad = {c for c in text if not (c.isprintable() or c == "\n")}
    assert not bad, f"{what} has {sorted(bad)!r}"
    assert max(map(len, text.split("\n")), default=0) < LONGEST, f"{what} is endless"


def check_sentence(sentence: str) -> None:
    """What a user is told of an error, as `intentd:` prints it."""
    from daemon.base.text import screen_text

    shown = screen_text(sentence)
    assert shown.strip(), "an error without a word"
    check_text(shown, "the sentence")


def check_messages(labels: tuple[str, ...], messages: Iterable[Message]) -> None:
    """As plain lines and as JSON."""
    out, err = io.StringIO(), io.StringIO()
    plain = Plain(out, err)
    format_ = LineFormat(labels)
    for message in messages:
        plain.publish(message)
        if not isinstance(message, Level | Status):
            line = format_.line(message)
            assert line.count(b"\n") == 1 and line.endswith(b"\n"), line
            json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    plain.close()
    check_text(out.getvalue(), "standard output")
    check_text(err.getvalue(), "standard error")
    for complaint in err.getvalue().splitlines():
        assert complaint.startswith("intentd: "), complaint


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
