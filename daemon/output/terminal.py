"""Output for people: the dashboard on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

from daemon.base.errors import UserError, os_reason
from daemon.config import Settings
from daemon.output.base import Output, OutputContext
from daemon.output.plain import Plain


def shows_dashboard(settings: Settings) -> bool:
    """Whether the settings and standard output let the dashboard be shown."""
    if settings.output.headless or settings.output.jsonl == "-":
        return False
    from daemon.output.dashboard import dashboard_possible

    return dashboard_possible()


def make(context: OutputContext) -> Output:
    """The dashboard, or plain lines.

    Raises: UserError if output.log can't be written.
    """
    output = context.settings.output
    if not shows_dashboard(context.settings):
        # Standard output belongs to the JSON lines alone if they go there.
        return Plain(None if output.jsonl == "-" else sys.stdout)
    from daemon.base.stderr import StderrToLog
    from daemon.output.dashboard import Dashboard

    log = Path(output.log).expanduser() if output.log else None
    if log is not None:
        try:
            StderrToLog(log).check()
        except OSError as error:
            raise UserError(
                f"output.log is {log}, which can't be written ({os_reason(error)}); "
                "name another file"
            ) from None
    dashboard = Dashboard(context.controls, log=log)
    context.screen = dashboard
    return dashboard
