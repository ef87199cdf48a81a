"""Classifier: windows of samples to posteriors."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError, first_line
from daemon.model.backends import AUTO, Backend, Job, open_backend
from daemon.model.backends.choices import Choice
from daemon.model.backends.selection import choose
from daemon.model.description.info import ModelInfo, read_model_info
from daemon.model.description.resolve import resolve_model
from daemon.model.errors import ModelError
from daemon.model.features import Features, Samples, open_features
from daemon.model.scores import probabilities

if TYPE_CHECKING:
    from daemon.model.verifier.verifier import Verifier

log = logging.getLogger(__name__)

__all__ = ["Classifier", "load_classifier"]

WARM_UP_SECONDS = 0.5
BATCH_BYTES = 1 << 30
"""Working memory that a batch may take, by estimate; larger windows go in smaller batches."""


class Classifier:
    """A loaded model; thread-safe only if loaded for parallel batches."""

    def __init__(
        self,
        info: ModelInfo,
        backend: Backend,
        features: Features,
        window: int,
        max_batch: int,
        choice: Choice | None = None,
    ) -> None:
        self.info = info
        self.labels = info.labels
        self.window = window
        """Samples of a window at 16 kHz."""
        self.max_batch = max_batch
        """Windows that go through the network at once."""
        self.choice = choice
        """How "auto" came to this backend; None if the backend was asked for by name."""
        self.verifier: Verifier | None = None
        """Verifies events before they fire; None: nothing does."""
        self._backend = backend
        self._features = features

    @property
    def backend(self) -> str:
        """Display name of the backend, and how many "auto" chose it from."""
        tried = len(self.choice.trials) if self.choice is not None else 0
        return f"{self._backend.name}, fastest of {tried}" if tried > 1 else self._backend.name

    def logits(self, windows: Sequence[Samples] | Samples) -> NDArray[np.float32]:
        """Logits of n windows, shape (n, labels).

        `windows`: n arrays or views of `window` samples, mono float32 at 16 kHz, or one array
        (n, samples). More than `max_batch` run in several batches, which changes results by
        rounding only.

        Raises:
            ValueError: a window has another length.
            ModelError: scores are not finite.
        """
        count = len(windows)
        if any(np.shape(window) != (self.window,) for window in windows):
            raise ValueError(f"windows must have {self.window} samples")
        scores = np.empty((count, len(self.labels)), np.float32)
        for first in range(0, count, self.max_batch):
            part = slice(first, min(first + self.max_batch, count))
            scores[part] = self._backend.run(self._features.prepare(windows[part]))
        if not np.isfinite(scores).all():
            raise ModelError(
                f"the model {self.info.directory} gives scores that are not finite numbers "
                f"({self.backend}); its weights are damaged, or the sound holds such samples"
            )
        return scores

    def classify(self, windows: Sequence[Samples] | Samples) -> NDArray[np.float32]:
        """Posteriors of n windows at the model's temperature, shape (n, labels).

        Each row adds up to 1, except for a multi-label model. See `logits` for `windows`.
        """
        return self.probabilities(self.logits(windows))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Posteriors from logits, shape (n, labels), at the model's temperature."""
        return probabilities(logits, self.info)

    def warm_up(self) -> None:
        """Run the network a few times, so that the first windows are not slower.

        A full batch follows if that is quick, since OpenVINO compiles each batch size when it
        first occurs (20 to 140 ms).

        Raises:
            ModelError: scores are not finite.
            UserError: the network does not run.
        """
        rng = np.random.default_rng(0)
        noise = 0.01 * rng.standard_normal((self.max_batch, self.window), np.float32)
        with _network_errors(self.info, self.window, self.backend):
            self.logits(noise[:1])
            begun = time.perf_counter()
            self.logits(noise[:1])
            if (time.perf_counter() - begun) * self.max_batch < WARM_UP_SECONDS:
                self.logits(noise)


@contextlib.contextmanager
def _network_errors(info: ModelInfo, window: int, backend: str) -> Iterator[None]:
    """Turn whatever a network raises into a `UserError`.

    Some mistakes of a config show only when the network runs.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(
            f"the model {info.directory} does not run on a window of {window / info.rate:g} s with "
            f"{backend} ({first_line(error)}); check window.seconds, or use another model"
        ) from error


def load_classifier(
    path: str | Path,
    *,
    backend: str = AUTO,
    threads: int = 0,
    window_seconds: float | None = None,
    hop_seconds: float = 0.0,
    max_batch: int = 16,
    parallel: int = 0,
    offline: bool = False,
) -> Classifier:
    """Load a model and run it once.

    Args:
        path: a directory, a hub id, or "" or "bundled" for the model that comes with intentd.
        backend: a name of `backend_names()`.
        threads: of the processor; 0: one for a small model, else one a core, at most 4.
        window_seconds: length of the windows; None: as the model says, else 1 s.
        hop_seconds: from window to window where they follow each other, so that what they have in
            common may be computed once; scores are the same. 0: they don't.
        max_batch: windows that go through the network at once, at most. Less where they would
            take more than 1 GB.
        parallel: threads that call `classify` at once; 0: one does, batch after batch.
        offline: ask no hub, see `resolve_model`.

    Raises:
        UserError: one sentence on whatever is wrong with the model, its files or the backend.
    """
    info = read_model_info(resolve_model(str(path), offline=offline))
    log.info("model %s, %s", info.directory, info.model_type)
    job = Job.of(info, window_seconds, hop_seconds, threads, parallel)
    batch = max(1, min(max_batch, BATCH_BYTES // info.architecture.working_bytes(job.window)))
    features = open_features(info)
    choice: Choice | None = None
    with _network_errors(info, job.window, f"backend {backend}"):
        if backend == AUTO:
            runtime, choice = choose(job, features, batch, lambda name: open_backend(name, job))
        else:
            runtime = open_backend(backend, job)
    classifier = Classifier(info, runtime, features, job.window, batch, choice)
    classifier.warm_up()
    return classifier
