"""Runs the commands of [on] when their intents are spoken.

A limited number runs at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import ClassVar

from daemon.base.text import escaped, utf8_text
from daemon.config import Settings
from daemon.config.lookup import secret_variables
from daemon.config.settings import EVERY_INTENT, ActionSettings
from daemon.messages import Event, Message, RunInfo
from daemon.output.base import ActiveOutput, OutputContext
from daemon.output.command.process import HAS_GROUPS, Command, start_reason
from daemon.output.command.reaper import Reaper
from daemon.output.command.trial import find_program
from daemon.output.line_format import LineFormat

CLOSE_SECONDS = 0.3
"""What commands get to end by themselves when the daemon ends."""
_NOT_PASSED_ON = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", *secret_variables()}
"""Variables of the daemon that are none of a command's business."""


class Commands(ActiveOutput):
    """Commands by intent, with a bound on how many run at once.

    on_failure: called with a sentence when a command fails.
    """

    name = "commands"
    takes: ClassVar[frozenset[type]] = frozenset({Event})

    def __init__(
        self,
        actions: Mapping[str, ActionSettings],
        *,
        parallel: int,
        queue: int,
        timeout: float,
        on_failure: Callable[[str], None],
    ) -> None:
        self.capacity = queue
        self._actions = dict(actions)
        self._parallel = parallel
        self._timeout = timeout
        self._on_failure = on_failure
        self._format = LineFormat(())
        self._reaper: Reaper | None = None
        self._changed = threading.Condition()
        self._running: list[Command] = []
        self._done = self._failed = 0

    def open(self, run: RunInfo) -> None:
        """Raises UserError if a program does not exist."""
        for intent, action in self._actions.items():
            find_program(intent, action)
        self._format = LineFormat(run.labels)
        if HAS_GROUPS:
            self._reaper = Reaper()

    def publish(self, message: Message) -> None:
        """Start the commands of an event; waits while too many run."""
        if not isinstance(message, Event):
            return
        for key in (message.intent, EVERY_INTENT):
            if key in self._actions:
                self._start(message, self._actions[key])

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """End all commands; those that are about to end may."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, CLOSE_SECONDS)
            for command in self._running:
                command.stop()
            self._changed.wait_for(lambda: not self._running, 2.0)
        if self._reaper is not None:
            self._reaper.close()

    @property
    def unfinished(self) -> int:
        return len(self._running)

    @property
    def state(self) -> str:
        with self._changed:
            done, failed, running = self._done, self._failed, len(self._running)
        return f"{done} ended, {failed} of them failed, {running} running"

    def _start(self, event: Event, action: ActionSettings) -> None:
        title = f"the command for {escaped(event.intent)}"
        words = list(action.run)
        words[0] = words[0] if action.shell else os.path.expanduser(words[0])  # noqa: PTH111
        with self._changed:
            self._changed.wait_for(lambda: len(self._running) < self._parallel)
        try:
            command = Command(
                words,
                shell=action.shell,
                environment=environment(event),
                given=self._format.line(event),
                title=title,
                reaper=self._reaper,
            )
        except OSError as error:
            self._count(title, start_reason(error, words[0]))
            return
        with self._changed:
            self._running.append(command)
        threading.Thread(
            target=self._attend, args=(command, title), name=title, daemon=True
        ).start()

    def _attend(self, command: Command, title: str) -> None:
        reason = command.wait(self._timeout)
        self._count(title, reason)
        with self._changed:
            self._running.remove(command)
            self._changed.notify_all()

    def _count(self, title: str, reason: str) -> None:
        with self._changed:
            self._done += 1
            self._failed += bool(reason)
        if reason:
            self._on_failure(f"{title} {reason}")


def environment(event: Event) -> dict[str, str]:
    """The environment of a command: the daemon's, and the event."""
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED_ON}
    about = {
        "INTENTD_INTENT": event.intent,
        "INTENTD_SCORE": f"{event.score:.6f}",
        "INTENTD_STREAM": event.stream,
        "INTENTD_AT": event.at or "",
        "INTENTD_AT_STREAM": f"{event.at_stream:.3f}",
    }
    return inherited | {key: utf8_text(value).replace("\0", "") for key, value in about.items()}


def make(context: OutputContext) -> Commands | None:
    """The commands that the settings ask for."""
    settings: Settings = context.settings
    if not settings.on:
        return None
    limits = settings.command
    return Commands(
        settings.on.actions,
        parallel=limits.parallel,
        queue=limits.queue,
        timeout=limits.timeout,
        on_failure=context.controls.warn,
    )
