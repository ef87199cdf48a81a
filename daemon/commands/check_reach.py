"""Trials of `intentd check` on outputs and on addresses for clients.

These are what reaches other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.health.client import running
from daemon.output.registry import OUTPUTS
from daemon.serve.address import listen, parse_address
from daemon.serve.listeners import parsed
from daemon.serve.token import read_token


def reach_trials(settings: Settings) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    """Name and trial of each configured output, and of clients' addresses."""
    for kind in OUTPUTS:
        target = kind.target(settings)
        if kind.trial and target:
            user = _user(target, "outputs") if kind.listens else ""
            yield kind.name, partial(_taken, user) if user else partial(kind.try_out, settings)
    if settings.serve.listen:
        yield "clients", partial(try_addresses, settings)


def try_addresses(settings: Settings) -> Outcome:
    """Listen for a moment at each address for clients.

    Raises: UserError where that can't be.
    """
    read_token(settings.serve.token_file)
    found = []
    for address in map(str, parsed(settings.serve.listen)):
        user = _user(address, "listening")
        if not user:
            listen(parse_address(address)).close()
        found.append(user or f"{address} is free")
    return True, "; ".join(found), ""


def _taken(user: str) -> Outcome:
    return True, user, ""


def _user(address: str, key: str) -> str:
    """The user's intentd that listens at an address already; empty if none."""
    for _, report in running():
        if isinstance(report, Mapping) and any(
            address in _words(each) for each in report.get(key, ())
        ):
            return f"process {report['pid']}, which is intentd, listens at {address}"
    return ""


def _words(found: Any) -> list[str]:
    """The words of an address, or of an output's name."""
    return str(found["name"] if isinstance(found, Mapping) else found).split()
