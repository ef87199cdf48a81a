"""The whole daemon as a subject, from recordings to outputs.

That is: feeder, rings, gates, model and outputs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from daemon.assembly.inputs import open_recordings
from daemon.assembly.setup import Setup, load_model, prepare
from daemon.config import Option, Sources
from daemon.messages import Message, Prediction, Summary
from daemon.output.dispatch import Dispatcher
from daemon.output.jsonl import JsonLines
from daemon.runtime.inputs import Recordings
from daemon.runtime.worker import Worker
from daemon.vad import GateBank, GateSettings

if TYPE_CHECKING:
    from daemon.model.classifier import Classifier

Figures = dict[str, Any]


def whole(what: Figures) -> tuple[Any, Figures]:
    """The daemon without a screen; JSON lines go to the null device.

    `what`: sources, the fields
    of `Sources`; jobs, batches that are classified at once (0: in the worker).
    """
    given = what["sources"]
    setup = prepare(
        Sources(
            None if given["config"] is None else Path(given["config"]),
            tuple(given["assignments"]),
            tuple(Option(**option) for option in given["options"]),
        )
    )
    jobs = what.get("jobs", 0)
    classifier = load_model(setup, jobs)
    settings = setup.settings

    def replay(order: Figures) -> Figures:
        """`files`, a stream each, at `speed` (None: as fast as they are read)."""
        recordings, _ = open_recordings(order["files"], settings.audio)
        source = Recordings(
            recordings,
            order["speed"],
            block_ms=settings.audio.block_ms,
            spread=settings.window.hop,
        )
        gates = setup.load_gates()
        collected = _Collected()
        output = Dispatcher([JsonLines(os.devnull)], lossless=True)

        def publish(*messages: Message) -> None:
            for message in messages:
                collected.take(message)
            output.publish(*messages)

        worker = setup.new_worker(
            source.streams,
            classifier.classify,
            gates,
            publish,
            source.wake,
            verify=classifier.verifier,
            threads=jobs,
        )
        output.open(setup.run_info(source.streams, classifier.backend))
        wall, cpu = time.perf_counter(), time.process_time()
        _run(worker, source)
        output.close(60.0)
        return collected.figures() | {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }

    return replay, {"name": classifier.backend, "labels": len(classifier.labels)}


def scores_of(setup: Setup, classifier: Classifier, file: str) -> NDArray[np.float32]:
    """Scores (n, labels) by the whole path for a recording, with the gate off."""
    settings = setup.settings
    recordings, _ = open_recordings([file], settings.audio)
    source = Recordings(recordings, None, block_ms=settings.audio.block_ms)
    gates = GateBank.load(GateSettings(kind="off"))
    found: list[NDArray[np.float32]] = []

    def publish(*messages: Message) -> None:
        found.extend(
            message.scores
            for message in messages
            if isinstance(message, Prediction) and message.scores is not None
        )

    worker = setup.new_worker(
        source.streams,
        classifier.classify,
        gates,
        publish,
        source.wake,
        verify=classifier.verifier,
    )
    _run(worker, source)
    return np.stack(found)


def _run(worker: Worker, source: Recordings) -> None:
    """Run a worker to the recordings' end."""
    source.start(on_news=lambda: None)
    try:
        worker.run()
    finally:
        source.stop()


class _Collected:
    """Messages of a run, collected into figures."""

    def __init__(self) -> None:
        self._latencies: list[float] = []
        self._summaries: list[Summary] = []

    def take(self, message: Message) -> None:
        if isinstance(message, Prediction) and message.latency_ms is not None:
            self._latencies.append(message.latency_ms)
        elif isinstance(message, Summary):
            self._summaries.append(message)

    def figures(self) -> Figures:
        """Sound, windows, lost samples and latency of a run.

        Sound in seconds over all streams; windows, and how many went through the model; source
        samples that were lost; latency in ms over all windows that went through the model.
        """
        latencies = np.array(self._latencies) if self._latencies else np.zeros(1)
        return {
            "sound_seconds": sum(summary.seconds for summary in self._summaries),
            "windows": sum(summary.windows for summary in self._summaries),
            "classified": len(self._latencies),
            "lost": sum(summary.samples_lost for summary in self._summaries),
            "p50_ms": float(np.percentile(latencies, 50)),
            "p99_ms": float(np.percentile(latencies, 99)),
        }
