"""`intentd bench`: how fast the model runs here, beside transformers' own pipeline.

Everything that is compared is measured in turn in each round, so that a machine that grows slower
meanwhile is unfair to nobody; reported are medians over the rounds.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from daemon.capture.recording import Recording
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.commands.session import Setup, load_model, prepare
from daemon.errors import UserError
from daemon.messages import Message, StreamInfo, Summary
from daemon.model.cores import default_threads
from daemon.model.weights import find_weights
from daemon.windowing import RATE, Resampler
from daemon.worker import Track, Worker

if TYPE_CHECKING:
    from daemon.model.classifier import Classifier

Mono = NDArray[np.float32]
T = TypeVar("T")

BATCHES = (1, 4, 16)
NOISE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """All figures are medians over the rounds."""

    model: str
    parameters: int
    backend: str
    threads: int
    window: float
    hop: float
    rounds: int
    sound: str
    sound_seconds: float
    pipeline_ms: float
    """transformers' pipeline on one window."""
    window_ms: dict[str, float]
    """intentd's classifier, a window, by batch size."""
    realtime_factor: float
    """Seconds to replay a second of sound, gate and all, one stream at full speed."""
    windows_gated: float
    """Share of the replay's windows that the gate spared the model."""
    load_seconds: float


def run(layers: Mapping[str, Any], *, recording: Path | None, rounds: int, as_json: bool) -> int:
    """Measure and print. Raises `UserError` for a model or recording that can't be read."""
    setup = prepare(layers)
    result = measure(setup, recording, rounds)
    print(json.dumps(asdict(result)) if as_json else text(result), flush=True)
    return 0


def measure(setup: Setup, recording: Path | None, rounds: int) -> Result:
    """Interleaved rounds of everything."""
    begun = time.perf_counter()
    classifier = load_model(setup)
    loaded = time.perf_counter() - begun
    pipeline = _pipeline(setup)
    name, sound, rate = _sound(recording)
    windows = _windows(sound, rate, classifier.window, max(BATCHES))
    pipeline(windows[0])
    times: dict[str, list[float]] = {}
    spared = 0.0
    for _ in range(rounds):
        _clock(times, "pipeline", lambda: pipeline(windows[0]))
        for size in BATCHES:
            _clock(times, str(size), lambda size=size: classifier.classify(windows[:size]))  # type: ignore[misc]
        spared = _clock(times, "replay", lambda: replay(setup, classifier, sound, rate))
    median = {key: statistics.median(values) for key, values in times.items()}
    seconds = len(sound) / rate
    settings = setup.settings
    return Result(
        model=setup.model_name,
        parameters=setup.info.architecture.parameters,
        backend=classifier.backend,
        threads=settings.model.threads
        or default_threads(find_weights(setup.info).stat().st_size),
        window=settings.window.seconds,
        hop=settings.window.hop,
        rounds=rounds,
        sound=name,
        sound_seconds=round(seconds, 3),
        pipeline_ms=round(1000 * median["pipeline"], 3),
        window_ms={str(n): round(1000 * median[str(n)] / n, 3) for n in BATCHES},
        realtime_factor=round(median["replay"] / seconds, 5),
        windows_gated=round(spared, 4),
        load_seconds=round(loaded, 3),
    )


def replay(setup: Setup, classifier: Classifier, sound: Mono, rate: int) -> float:
    """The whole path over `sound`, shape (n,), as fast as it goes; the share of gated windows."""
    info = StreamInfo("bench", rate, 1, live=False)
    gates = setup.load_gates()
    ring = Ring(len(sound), 1, rate, shed=False)
    ring.write(sound[:, None], time.monotonic())
    ring.finish()
    told: list[Message] = []
    worker = Worker(
        [Track(setup.new_stream(info, gates), ring)],
        classifier,
        gates,
        told.append,
        Wake(),
        max_batch=setup.settings.model.max_batch,
        hop=setup.settings.window.hop,
        lag_warning=math.inf,
        lag_limit=math.inf,
    )
    worker.run()
    summary = told[-1]
    assert isinstance(summary, Summary)
    return summary.gated / max(1, summary.windows)


def _clock(times: dict[str, list[float]], name: str, work: Callable[[], T]) -> T:
    begun = time.perf_counter()
    result = work()
    times.setdefault(name, []).append(time.perf_counter() - begun)
    return result


def _pipeline(setup: Setup) -> Callable[[Mono], object]:
    """transformers' own way from one window to scores, on the processor."""
    from transformers import pipeline
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    run = pipeline(
        "audio-classification",
        model=str(setup.info.directory),
        device="cpu",
        trust_remote_code=False,
    )
    return lambda window: run({"raw": window, "sampling_rate": RATE})


def _sound(recording: Path | None) -> tuple[str, Mono, int]:
    """Name, samples (n,) and rate of what is replayed: the recording given, else noise with
    pauses, in which the gate has something to decide."""
    if recording is None:
        rng = np.random.default_rng(0)
        n = round(NOISE_SECONDS * RATE)
        loud = (np.arange(n) // (2 * RATE)) % 2 == 0
        noise = rng.normal(0.0, 1.0, n) * np.where(loud, 0.1, 0.001)
        return "noise", noise.astype(np.float32), RATE
    source = Recording(str(recording))
    parts = []
    while (part := source.read(1 << 16)) is not None:
        parts.append(part[:, 0])
    source.close()
    if source.error is not None:
        raise UserError(source.error)
    return str(recording), np.concatenate(parts), source.info.rate


def _windows(sound: Mono, rate: int, length: int, count: int) -> list[Mono]:
    """Windows at 16 kHz spread over `sound`."""
    samples = Resampler(rate)
    whole = np.concatenate([samples.feed(sound), samples.flush()])
    whole = np.pad(whole, (0, max(0, length - len(whole))))
    starts = np.linspace(0, len(whole) - length, count).astype(int)
    return [np.ascontiguousarray(whole[start : start + length]) for start in starts]


def text(result: Result) -> str:
    """The figures for people."""
    one = result.window_ms["1"]
    lines = [
        f"model     {result.model}, {result.parameters / 1e6:.2f} million parameters, "
        f"{result.backend}, {result.threads} threads, loaded in {result.load_seconds:.1f} s",
        f"pipeline  {result.pipeline_ms:.2f} ms a window of {result.window:g} s (transformers)",
        *(
            f"intentd   {ms:.2f} ms a window in batches of {size}, "
            f"{result.pipeline_ms / ms:.1f} times as fast"
            for size, ms in result.window_ms.items()
        ),
        f"replay    {result.realtime_factor:.4f} s of work for a second of {result.sound} "
        f"({result.sound_seconds:g} s), {100 * result.windows_gated:.0f} % of windows gated",
        f"live      {100 * one / 1000 / result.hop:.1f} % of the time between two windows",
        f"medians of {result.rounds} interleaved rounds",
    ]
    return "\n".join(lines)
