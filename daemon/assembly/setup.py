"""Settings and model, checked against each other, and what they build."""

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
from daemon.model.verifier.description import VerifierInfo, find_verifier
from daemon.runtime.batches import Classify
from daemon.runtime.stream_feed import StreamFeed, time_of_day
from daemon.runtime.worker import Publish, Worker
from daemon.stream.segment import Verify
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
    """Name and settings of the configured model (see `load_settings`)."""
    info = read_info(settings)
    layer = layer_of(info, read_verifier_info(settings, info))
    return settings.path or "that comes with intentd", layer


def layer_of(info: ModelInfo, verifier: VerifierInfo | None) -> Mapping[str, Any]:
    """Settings that a model supplies; a verifier has thresholds of its own."""
    layer = info.settings()
    if verifier is not None and verifier.thresholds:
        layer.setdefault("events", {})["thresholds"] = dict(verifier.thresholds)
    if verifier is not None and verifier.rolling_windows is not None:
        layer.setdefault("rolling", {})["windows"] = verifier.rolling_windows
    return layer


def read_info(settings: ModelSettings) -> ModelInfo:
    """Raises `UserError` if there is no such model, or it can't be used."""
    return read_model_info(resolve_model(settings.path))


def read_verifier_info(settings: ModelSettings, info: ModelInfo) -> VerifierInfo | None:
    """The verifier that the settings name for the model.

    Raises: UserError if it can't be used.
    """
    return find_verifier(info.directory, settings.verifier, info.labels, info.unit)


@dataclass(frozen=True, slots=True)
class Setup:
    """All facts of a run before its first sample and the model's weights."""

    settings: Settings
    info: ModelInfo
    verifier: VerifierInfo | None = None
    """None: events are not verified."""
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
        """Smoothed posterior at which each label's event may begin, in order.

        The labels' order.
        """
        if self.verifier is not None:
            return (self.verifier.verification.candidate,) * len(self.info.labels)
        found = thresholds_of(self.info.labels, self.settings.events)
        return tuple(float(value) for value in found)

    @property
    def layer(self) -> Mapping[str, Any]:
        """Settings that the model and its verifier supply."""
        return layer_of(self.info, self.verifier)

    def load_gates(self) -> GateBank:
        """The gates of all streams.

        Raises: UserError if their detector can't run here.
        """
        return load_gates(self.settings)

    def new_stream(
        self,
        info: StreamInfo,
        gates: GateBank,
        *,
        verify: Verify | None = None,
        levels: bool = False,
    ) -> Stream:
        """The path of one stream.

        ValueError without `verify` for a model that has a verifier, since nothing would fire.
        """
        if self.verifier is not None and verify is None:
            raise ValueError("a model with a verifier needs it to raise events")
        settings = StreamSettings(
            labels=self.info.labels,
            non_intents=self.info.non_intents,
            unit=self.info.unit,
            window=self.settings.window.seconds,
            hop=self.settings.window.hop,
            gate=self.settings.gate,
            rolling=self.settings.rolling,
            events=self.settings.events,
            verification=None if self.verifier is None else self.verifier.verification,
        )
        return Stream(info, settings, gates, verify=verify, levels=levels, monitor=True)

    def new_worker(
        self,
        streams: Sequence[tuple[StreamInfo, Ring]],
        classify: Classify,
        gates: GateBank,
        publish: Publish,
        wake: Wake,
        *,
        verify: Verify | None = None,
        levels: bool = False,
        lag_limit: float = math.inf,
        widest_hop: float = 0.0,
        threads: int = 0,
        open_ended: Callable[[], bool] = lambda: False,
    ) -> Worker:
        """A worker for these streams; see `Worker` and `new_stream`."""
        return Worker(
            [
                StreamFeed(self.new_stream(info, gates, verify=verify, levels=levels), ring)
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
            open_ended=open_ended,
        )

    def run_info(
        self,
        streams: Sequence[tuple[StreamInfo, Ring]],
        backend: str,
        *,
        serves: bool = False,
    ) -> RunInfo:
        """Description of the run for the outputs.

        Call it when the run is about to begin.
        """
        live = serves or any(info.live for info, _ in streams)
        return RunInfo(
            streams=tuple(info for info, _ in streams),
            labels=self.info.labels,
            non_intents=self.info.non_intents,
            thresholds=self.thresholds,
            model=self.model_name,
            backend=backend,
            window=self.settings.window.seconds,
            hop=self.settings.window.hop,
            verified=self.verifier is not None,
            at=time_of_day() if live else None,
            serves=serves,
        )


def prepare(
    sources: Sources,
    *,
    environ: Mapping[str, str] | None = None,
    on_warning: Callable[[str], None] = note,
) -> Setup:
    """Read and check settings and model; warnings go to stderr.

    `environ`: `os.environ` by default.

    Raises: UserError.
    """
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
    return Setup(settings, info, read_verifier_info(settings.model, info), sources, loaded.file)


def load_model(setup: Setup, parallel: int = 0) -> Classifier:
    """Load and warm up the classifier and verifier, for `parallel` batches.

    See `load_classifier`.

    Raises: UserError if they can't be loaded.
    """
    from daemon.model.classifier import load_classifier
    from daemon.model.verifier.verifier import Verifier

    model = setup.settings.model
    classifier = load_classifier(
        setup.info.directory,
        backend=model.backend,
        threads=model.threads,
        window_seconds=setup.settings.window.seconds,
        hop_seconds=setup.settings.window.hop,
        max_batch=model.max_batch,
        parallel=parallel,
    )
    if setup.verifier is not None:
        classifier.verifier = Verifier(setup.verifier, setup.info.labels)
    return classifier


def parallel_batches(setup: Setup) -> int:
    """Batches that keep all cores busy that this process may use; at least 1."""
    from daemon.model.cores import default_threads, usable_cores
    from daemon.model.weights import find_weights

    weights = find_weights(setup.info).stat().st_size
    return max(1, usable_cores() // (setup.settings.model.threads or default_threads(weights)))


def load_gates(settings: Settings) -> GateBank:
    """The gates that the settings ask for.

    Raises: UserError if their detector can't run here.
    """
    return GateBank.load(settings.gate)
