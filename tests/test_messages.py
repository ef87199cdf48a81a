"""The table of message kinds."""

from __future__ import annotations

from typing import get_args

from daemon.messages import LINE_TYPES, MESSAGE_KINDS, Message
from daemon.output.line_format import LineFormat


def test_every_message_is_in_the_table_once() -> None:
    assert {kind.message for kind in MESSAGE_KINDS} == set(get_args(Message))
    assert (
        len({kind.name for kind in MESSAGE_KINDS}) == len(MESSAGE_KINDS) == len(get_args(Message))
    )


def test_every_line_type_has_its_format() -> None:
    formats = LineFormat(("up",))._formats
    assert set(formats) == {kind.message for kind in MESSAGE_KINDS if kind.json_line}
    assert LINE_TYPES == ("start", "prediction", "event", "rejection", "gap", "summary")
