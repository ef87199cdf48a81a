"""One run, from its settings and its source of sound to its exit status."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon import __version__
from daemon.assembly.reload import Reread, reread
from daemon.assembly.setup import Setup
from daemon.base.errors import UserError
from daemon.base.program import exit_process
from daemon.base.stderr import discard_native_stderr
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.config import Settings
from daemon.health.snapshot import Health
from daemon.health.vitals import HealthObserver, Vitals
from daemon.health.watch import Watch
from daemon.messages import Level, RunInfo, Start, Status, StreamInfo
from daemon.output.base import Output, OutputContext, OutputHealth
from daemon.output.dispatch import Dispatcher
from daemon.output.registry import OUTPUTS, exchange_outputs, make_outputs
from daemon.output.terminal import shows_dashboard
from daemon.runtime.engine import AudioInput, Engine
from daemon.runtime.observer import Observer
from daemon.runtime.stream_feed import StreamFeed, time_of_day
from daemon.serve.server import ClientServer
from daemon.service.notify import Notifier, SystemdNotifier
from daemon.vad import GateBank

if TYPE_CHECKING:
    from daemon.model.classifier import Classifier


def run_session(
    setup: Setup,
    classifier: Classifier,
    gates: GateBank,
    source: AudioInput,
    *,
    server: ClientServer | None = None,
    paced: bool,
    threads: int = 0,
    debug: bool,
) -> int:
    """Run to the end; return the exit status.

    Ends the process itself where a thread can't be ended.

    Args:
        server: its clients add streams to those of `source`, which starts and stops it.
        paced: sound comes at a pace that a person could follow, so that levels are worth showing.
        threads: that classify at once (see `Worker`).
        debug: tracebacks, and what native libraries print, go to stderr.

    Raises:
        UserError: nothing could be started.
    """
    quiet = not debug and not shows_dashboard(setup.settings)
    with discard_native_stderr() if quiet else nullcontext():
        session = Session(
            setup,
            classifier,
            gates,
            source,
            server=server,
            paced=paced,
            threads=threads,
            debug=debug,
        )
        status = session.run()
        if session.stuck:
            exit_process(status)
        return status


class Session:
    """The source, worker, outputs and observers of one run.

    It is also what outputs control the run by (`RunControls`).
    """

    def __init__(
        self,
        setup: Setup,
        classifier: Classifier,
        gates: GateBank,
        source: AudioInput,
        *,
        server: ClientServer | None = None,
        paced: bool,
        threads: int,
        debug: bool,
    ) -> None:
        """See `run_session`."""
        settings = setup.settings
        streams = source.streams
        live = server is not None or any(info.live for info, _ in streams)
        wake = Wake()
        self._setup = setup
        self._gates = gates
        self._verify = classifier.verifier
        self._source = source
        self._server = server
        context = OutputContext(settings, self)
        self._outputs = make_outputs(context)
        self._screen = context.screen
        self._levels = paced and any(Level in each.takes for each in self._outputs.values())
        self._watch = Watch(self._show_levels)
        self._lasting: list[Output] = [] if server is None else [server]
        self._lasting += [self._watch] if live else []
        self._dispatcher = Dispatcher(
            [*self._outputs.values(), *self._lasting], lossless=not live, on_end=wake.set
        )
        self._worker = setup.new_worker(
            streams,
            classifier.classify,
            gates,
            self._dispatcher.publish,
            source.wake,
            verify=self._verify,
            levels=self._levels,
            lag_limit=settings.audio.buffer_seconds,
            widest_hop=settings.window.widest_hop,
            threads=threads,
            open_ended=lambda: server is not None and server.wanted,
        )
        serves = server is not None and server.wanted
        self._run = setup.run_info(streams, classifier.backend, serves=serves)
        if server is not None:
            server.on_stream = self._add_stream
        self._vitals = Vitals(
            self._worker,
            self._run,
            paused=lambda: self.paused,
            away=source.searching,
            switched_off=lambda: self._dispatcher.troubles,
            outputs=lambda: self.outputs,
            listening=lambda: () if server is None else server.addresses,
            clients=lambda: 0 if server is None else server.clients,
        )
        self._engine = Engine(
            source,
            self._worker,
            self._dispatcher,
            self._run,
            wake=wake,
            hang_seconds=settings.model.hang_seconds,
            lossless=not live,
            observers=self._observers() if live else (),
            reload=self.reload,
            debug=debug,
        )

    def run(self) -> int:
        """Run to the end; return the exit status.

        Raises: UserError if nothing could be started.
        """
        return self._engine.run(self._screen)

    @property
    def stuck(self) -> bool:
        """Whether a thread could not be ended; exit without waiting for it."""
        return self._engine.stuck

    # ---- what outputs may ask and do (`RunControls`) ---------------------------------------------

    @property
    def load(self) -> float | None:
        """Recent seconds of work for a second of sound; None if not known yet."""
        return self._worker.load

    @property
    def paused(self) -> bool:
        """Whether listening was stopped."""
        return self._engine.paused

    @property
    def outputs(self) -> tuple[OutputHealth, ...]:
        """How the outputs are."""
        return self._dispatcher.outputs

    def health(self) -> Health:
        """How the whole run is."""
        return self._vitals.health()

    def warn(self, sentence: str) -> None:
        """Publish a warning."""
        self._dispatcher.publish(Status(None, sentence, "warning"))

    def pause(self, paused: bool) -> None:
        """Stop listening, or go on."""
        self._engine.pause(paused)

    def quit(self) -> None:
        """End in good order, with status 0."""
        self._engine.quit()

    # ---- streams of clients ----------------------------------------------------------------------

    def _add_stream(self, info: StreamInfo, ring: Ring) -> None:
        """A client's stream begins. Called in the server's thread."""
        settings, run = self._setup.settings, self._run
        about = (time_of_day(), __version__, run.model, run.labels, run.window)
        self._dispatcher.publish(Start(info.name, *about, settings.window.hop, info))
        stream = self._setup.new_stream(info, self._gates, verify=self._verify, levels=self._levels)
        self._worker.add(StreamFeed(stream, ring))

    def _show_levels(self, watched: bool) -> None:
        """React to the first watcher's arrival or the last one's departure.

        Any thread may call it.
        """
        if not self._levels:
            self._worker.show_levels(watched)

    # ---- reload ----------------------------------------------------------------------------------

    def reload(self) -> list[Status]:
        """Reload the settings and apply those that can change; return statuses.

        Never raises: settings that are wrong in any place leave everything as it was.
        """
        try:
            news = reread(self._setup)
            self._listen(news.setup.settings)
            try:
                self._exchange(news)
            except UserError:
                self._listen(self._setup.settings)
                raise
        except UserError as error:
            return [Status(None, f"{error} (nothing was reloaded, the old settings stay)", "error")]
        self._setup = news.setup
        if news.applied:
            settings = news.setup.settings
            self._worker.adopt(
                hop=settings.window.hop,
                events=settings.events,
                lag_warning=settings.output.lag_warning,
            )
        return news.statuses

    def _listen(self, settings: Settings) -> None:
        """Listen to clients at the addresses of `settings`.

        Raises: UserError, and nothing has changed then.
        """
        if self._server is not None:
            self._server.adopt(settings.serve)

    def _exchange(self, news: Reread) -> None:
        """Replace the outputs that have changed.

        Raises: UserError, and the old ones go on.
        """
        old, new = self._setup.settings, news.setup.settings
        outputs = exchange_outputs(self._outputs, OutputContext(new, self), news.applied)
        if outputs == self._outputs:
            return
        run = replace(self._run, hop=new.window.hop)
        blocking = [kind for kind in OUTPUTS if kind.blocks(old, new)]
        names = {kind.name for kind in blocking}
        others = {name: output for name, output in self._outputs.items() if name not in names}
        if blocking:
            self._use(others, run)
        try:
            self._use(outputs, run)
        except UserError:
            keys = [kind.switch for kind in blocking]
            self._use(exchange_outputs(others, OutputContext(old, self), keys), run)
            raise

    def _use(self, outputs: dict[str, Output], run: RunInfo) -> None:
        self._dispatcher.exchange([*outputs.values(), *self._lasting], run)
        self._outputs = outputs

    # ---- observers -------------------------------------------------------------------------------

    def _observers(self) -> list[Observer]:
        """The observers of a run: the status socket, and a service manager's."""
        return [
            HealthObserver(self._vitals, self.warn, self._watch),
            SystemdNotifier(
                Notifier(),
                self._vitals.processed,
                self._vitals.searching,
                self._worker.status_line,
                waits_for_sound=bool(self._source.streams),
            ),
        ]
