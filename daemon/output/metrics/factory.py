"""Builds the metrics output if the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.output.base import OutputContext
from daemon.output.extras import required

if TYPE_CHECKING:
    from daemon.output.metrics.output import Metrics


def make(context: OutputContext) -> Metrics | None:
    """The metrics output; None if the settings don't ask for it.

    Raises: UserError if prometheus-client is missing.
    """
    address = context.settings.output.metrics
    if not address:
        return None
    with required("output.metrics", "prometheus-client", "metrics"):
        from daemon.output.metrics.output import Metrics
    return Metrics(address, context.controls)


def try_address(settings: Settings) -> Outcome:
    """Listen at the address for a moment. Raises UserError if that can't be."""
    with required("output.metrics", "prometheus-client", "metrics"):
        from daemon.output.metrics.output import listen
    address = settings.output.metrics
    listen(address, lambda _environ, _start: []).stop()
    return True, f"{address} is free", ""
