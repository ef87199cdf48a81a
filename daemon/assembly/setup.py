"""Settings and model, checked against each other, and what is built from them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from daemon.assembly.effect import without_effect
from daemon.base.journal import complain
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.config import ModelSettings, Settings, Sources, load_settings
from daemon.config.loading import NO_SOURCES
from daemon.decide import thresholds_of
from daemon.messages import RunInfo, StreamInfo
from daemon.model.description.info import ModelInfo, read_model_info
from daemon.model.description.resolve import resolve_model
from daemon.runtime.batches import Classify
from daemon.runtime.worker import Publish, StreamFeed, Worker, time_of_day
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank

if TYPE_CHECKING:
    from daemon.model.classifier import Classifier

log = logging.getLogger(__name__)


def note(sentence: str) -> None:
    """Write a warning to stderr."""
    complain(sentence, "warning")


def model_layer(settings: ModelSettings) -> tuple[str, Mapping[str, Any]]:
    """Name and settings of the model that the settings name (see `load_settings`)."""
    return settings.path or "that comes with intentd", read_info(settings).settings()


def read_info(settings: ModelSettings) -> ModelInfo:
    """Raises `UserError` if there is no such model, or it can't be used."""
    return read_model_info(resolve_model(settings.path))


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything known before the first sample and before the weights are loaded."""

    settings: Settings
    info: ModelInfo
    sources: Sources = NO_SOURCES
    """To read the settings again."""
    file: str | None = None
    """The settings file that was read."""

    def having(self, settings: Settings) -> Setup:
        """The same with other settings."""
        return replace(self, settings=settings)

    @property
    def model_name(self) -> str:
        """The model's name in the outputs: what the user typed, else its folder."""
        return self.settings.model.path or self.info.directory.name

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The rolling value at which an event of each label may begin, in the labels' order."""
        found = thresholds_of(self.info.labels, self.settings.events)
        return tuple(float(value) for value in found)

    def load_gates(self) -> GateBank:
        """The gates of all streams. Raises `UserError` if their detector can't run here."""
        return load_gates(self.settings)

    def new_stream(self, info: StreamInfo, gates: GateBank, *, levels: bool = False) -> Stream:
        """The path of one stream."""
        settings = StreamSettings(
            labels=self.info.labels,
            non_intents=self.info.non_intents,
            unit=self.info.unit,
            window=self.settings.window.seconds,
            hop=self.settings.window.hop,
            gate=self.settings.gate,
            rolling=self.settings.rolling,
            events=self.settings.events,
        )
        return Stream(info, settings, gates, levels=levels, monitor=True)

    def new_worker(
        self,
        streams: Sequence[tuple[StreamInfo, Ring]],
        classify: Classify,
        gates: GateBank,
        publish: Publish,
        wake: Wake,
        *,
        levels: bool = False,
        lag_limit: float = math.inf,
        widest_hop: float = 0.0,
        threads: int = 0,
    ) -> Worker:
        """A worker for these streams; see `Worker` and `new_stream`."""
        return Worker(
            [
                StreamFeed(self.new_stream(info, gates, levels=levels), ring)
                for info, ring in streams
            ],
            classify,
            gates,
            publish,
            wake,
            max_batch=self.settings.model.max_batch,
            hop=self.settings.window.hop,
            lag_warning=self.settings.output.lag_warning,
            lag_limit=lag_limit,
            widest_hop=widest_hop,
            threads=threads,
        )

    def run_info(self, streams: Sequence[tuple[StreamInfo, Ring]], backend: str) -> RunInfo:
        """Description of the run for the outputs; call it when the run is about to begin."""
        return RunInfo(
            streams=tuple(info for info, _ in streams),
            labels=self.info.labels,
            non_intents=self.info.non_intents,
            thresholds=self.thresholds,
            model=self.model_name,
            backend=backend,
            window=self.settings.window.seconds,
            hop=self.settings.window.hop,
            at=time_of_day() if any(info.live for info, _ in streams) else None,
        )


def prepare(
    sources: Sources,
    *,
    environ: Mapping[str, str] | None = None,
    on_warning: Callable[[str], None] = note,
) -> Setup:
    """Settings and model, checked against each other; warnings go to stderr. `environ`:
    `os.environ` by default. Raises `UserError`."""
    loaded = load_settings(sources, environ=environ, model=model_layer)
    settings = loaded.settings
    info = read_info(settings.model)
    for warning in loaded.warnings(without_effect(loaded, info)):
        on_warning(warning)
    loaded.check_labels(info.labels)
    info.window_samples(settings.window.seconds)
    log.info("settings file: %s", loaded.file or "none")
    for key, origin in loaded.origins.items():
        if origin.kind not in {"default", "model"}:
            log.info("%s is set by %s", key, origin)
    return Setup(settings, info, sources, loaded.file)


def load_model(setup: Setup, parallel: int = 0) -> Classifier:
    """The classifier, warmed up, for `parallel` batches at once (see `load_classifier`). Raises
    `UserError` if it can't be loaded."""
    from daemon.model.classifier import load_classifier

    model = setup.settings.model
    return load_classifier(
        setup.info.directory,
        backend=model.backend,
        threads=model.threads,
        window_seconds=setup.settings.window.seconds,
        hop_seconds=setup.settings.window.hop,
        max_batch=model.max_batch,
        parallel=parallel,
    )


def parallel_batches(setup: Setup) -> int:
    """Batches that keep all cores busy that this process may use; at least 1."""
    from daemon.model.cores import default_threads, usable_cores
    from daemon.model.weights import find_weights

    weights = find_weights(setup.info).stat().st_size
    return max(1, usable_cores() // (setup.settings.model.threads or default_threads(weights)))


def load_gates(settings: Settings) -> GateBank:
    """The gates that the settings ask for. Raises `UserError` if their detector can't run here."""
    return GateBank.load(settings.gate)
