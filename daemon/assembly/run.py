"""From a setup and a supply of sound to a finished run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from daemon.assembly.reload import Reloader
from daemon.assembly.session import Setup
from daemon.base.errors import UserError
from daemon.base.native_stderr import native_noise_to
from daemon.base.program import leave
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.config import Settings
from daemon.health.vitals import HealthWatcher, Vitals
from daemon.messages import RunInfo, Status, StreamInfo
from daemon.output.base import Output
from daemon.output.dispatch import Dispatcher
from daemon.output.jsonl import JsonLines
from daemon.output.plain import Plain
from daemon.runtime.engine import Engine, Picture, Supply
from daemon.runtime.inputs import LiveInput
from daemon.runtime.observer import Watcher
from daemon.runtime.worker import Worker
from daemon.service.notify import Manager, Notifier
from daemon.vad import GateBank

if TYPE_CHECKING:
    from daemon.model.classifier import Classifier


class Sounding(Supply, Protocol):
    """A supply that says which streams it feeds."""

    @property
    def streams(self) -> Sequence[tuple[StreamInfo, Ring]]: ...

    def searching(self, now: float) -> bool: ...


def run_engine(
    setup: Setup,
    classifier: Classifier,
    gates: GateBank,
    supply: Sounding,
    wake: Wake,
    *,
    paced: bool,
    debug: bool,
) -> int:
    """Run to the end; the exit status. `paced`: sound comes at a pace that a person could follow,
    so that the dashboard gets levels. Ends the process itself where a thread can't be ended."""
    controls = _Controls()
    dashboard = _dashboard(setup, controls)
    with nullcontext() if debug or dashboard is not None else native_noise_to(None):
        return _run(setup, classifier, gates, supply, wake, controls, dashboard, paced, debug)


def _run(
    setup: Setup,
    classifier: Classifier,
    gates: GateBank,
    supply: Sounding,
    wake: Wake,
    controls: _Controls,
    dashboard: _Shown | None,
    paced: bool,
    debug: bool,
) -> int:
    settings = setup.settings
    streams = supply.streams
    live = any(info.live for info, _ in streams)
    attention = Wake()
    outputs = _outputs(setup, dashboard)
    dispatcher = Dispatcher(outputs, lossless=not live, notify=attention.set)
    if isinstance(supply, LiveInput):
        supply.notify(attention.set)
    worker = setup.new_worker(
        streams,
        classifier,
        gates,
        dispatcher.publish,
        wake,
        levels=paced and dashboard is not None,
        lag_limit=settings.audio.buffer_seconds,
        widest_hop=settings.window.widest_hop,
    )
    run = setup.run_info(streams, classifier.backend)
    engine = Engine(
        supply,
        worker,
        dispatcher,
        run,
        attention=attention,
        hang_seconds=settings.model.hang_seconds,
        lossless=not live,
        watchers=_watchers(worker, run, dispatcher, controls, supply) if live else (),
        reload=Reloader(setup, run, worker, dispatcher, outputs, _other_outputs),
        debug=debug,
    )
    controls.engine, controls.worker = engine, worker
    status = engine.run(dashboard)
    if engine.stuck:
        leave(status)
    return status


def _watchers(
    worker: Worker,
    run: RunInfo,
    dispatcher: Dispatcher,
    controls: _Controls,
    supply: Sounding,
) -> list[Watcher]:
    """Who looks after a daemon from outside: `intentd status`, and a service manager."""
    vitals = Vitals(worker, run, controls.paused, supply.searching, lambda: dispatcher.troubles)
    return [
        HealthWatcher(vitals, lambda text: dispatcher.publish(Status(None, text, "warning"))),
        Manager(Notifier(), vitals.processed, vitals.searching, worker.status_line),
    ]


class _Controls:
    """What the dashboard needs of an engine that is only built after it."""

    engine: Engine | None = None
    worker: Worker | None = None

    def on_pause(self, paused: bool) -> None:
        if self.engine is not None:
            self.engine.on_pause(paused)

    def on_quit(self) -> None:
        if self.engine is not None:
            self.engine.on_quit()

    def paused(self) -> bool:
        return self.engine is not None and self.engine.paused

    def load(self) -> float | None:
        return None if self.worker is None else self.worker.load


def _dashboard(setup: Setup, controls: _Controls) -> _Shown | None:
    output = setup.settings.output
    if output.headless or output.jsonl == "-":
        return None
    from daemon.base.stderr_log import StderrToLog
    from daemon.output.dashboard import Dashboard, dashboard_possible

    if not dashboard_possible():
        return None
    log = Path(output.log).expanduser() if output.log else None
    if log is not None:
        try:
            StderrToLog(log).check()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(
                f"output.log is {log}, which can't be written ({reason}); name another file"
            ) from None
    return Dashboard(controls, load=controls.load, log=log)


def _other_outputs(old: Settings, new: Settings, outputs: Sequence[Output]) -> list[Output]:
    """Outputs for other settings; those that serve these as well stay. See `Reloader`."""
    if old.output.jsonl == new.output.jsonl:
        return list(outputs)
    kept = [output for output in outputs if not isinstance(output, JsonLines)]
    target = new.output.jsonl
    return [_json_lines(new), *kept] if target else kept


class _Shown(Output, Picture, Protocol):
    """An output that is a picture too."""


def _json_lines(settings: Settings) -> JsonLines:
    target = os.path.expanduser(settings.output.jsonl)  # noqa: PTH111 - "-" is no path
    return JsonLines(target, settings.output.types)


def _outputs(setup: Setup, dashboard: _Shown | None) -> list[Output]:
    target = setup.settings.output.jsonl
    outputs: list[Output] = []
    if target:
        outputs.append(_json_lines(setup.settings))
    # Standard output belongs to the JSON lines alone if they go there.
    outputs.append(dashboard or Plain(None if target == "-" else sys.stdout))
    return outputs
