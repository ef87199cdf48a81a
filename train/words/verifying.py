"""The verifier of own words: vectors of candidates, verified scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.decide.verification import Verification
from daemon.model.cache import file_digest
from daemon.model.verifier.description import bundled_network
from daemon.model.verifier.filterbank import SOUND
from daemon.model.verifier.network import WordEmbedding
from daemon.windowing import high_passed
from train.augment import Audio
from train.simulation.offline import SimulationSettings
from train.simulation.verified import before
from train.words.embedder import Embeddings
from train.words.take_streams import Floats, ScoredTake

ASKS = 6
"""Windows on which the verifier is asked about a word: all that hold it."""


class VerifierEmbedder:
    """The verifier's network, as `Embeds`."""

    window = SOUND / RATE

    def __init__(self, network: Path) -> None:
        """Load an ONNX file; it runs on one core in each thread that asks it.

        Raises:
            UserError: it can't be loaded, or ONNX Runtime is missing.
        """
        self.network = network
        self.digest = file_digest(network)
        self._embedding = WordEmbedding(network, unpacked=True)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return VerifierEmbedder, (self.network,)

    @property
    def size(self) -> int:
        width: int = self._embedding.width
        return width

    def embed(self, windows: Sequence[NDArray[np.float32]]) -> Embeddings:
        if not windows:
            return np.zeros((0, self.size), np.float32)
        return self._embedding.vectors(np.stack(windows))


def verifier_network(setting: str) -> Path | None:
    """The network that `Settings.verifier` names.

    None if there is to be no verifier. "auto" is the one that comes with intentd, where this
    installation has it.

    Raises:
        UserError: a file is named that does not exist.
    """
    if setting == "off":
        return None
    if setting != "auto":
        network = Path(setting).expanduser()
        if not network.is_file():
            raise UserError(f"There is no file {network} for the verifier's network.")
        return network
    network = bundled_network()
    return network if network.is_file() else None


class Vectors:
    """The verifier's vectors of windows of recordings; each is computed once.

    Threads may ask for different recordings at once.
    """

    def __init__(self, embedder: VerifierEmbedder) -> None:
        self._embedder = embedder
        self.known: dict[tuple[str, int], NDArray[np.float32]] = {}

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self._embedder.network

    def of(
        self,
        name: str,
        sound: Callable[[], Audio],
        windows: Sequence[int],
        settings: SimulationSettings,
    ) -> Embeddings:
        """Vectors of the 1.5 s before the end of `windows`, shape (windows, size).

        `name` of the recording, `sound` makes it: 16 kHz, not yet high-passed.
        """
        missing = [index for index in windows if (name, index) not in self.known]
        if missing:
            samples = high_passed(sound())
            made = self._embedder.embed([before(samples, n, settings) for n in missing])
            self.known.update({(name, n): row for n, row in zip(missing, made, strict=True)})
        if not len(windows):
            return np.zeros((0, self._embedder.size), np.float32)
        return np.stack([self.known[name, int(index)] for index in windows])


@dataclass(frozen=True, slots=True)
class Candidates:
    """Windows of a recording that the verifier may be asked about."""

    windows: NDArray[np.int64]
    """Their numbers, shape (n,)."""
    labels: NDArray[np.int64]
    """The likeliest intent of each, shape (n,)."""
    smoothed: Floats
    """Its smoothed posterior, shape (n,)."""

    @classmethod
    def of(cls, one: ScoredTake, smoothed: Floats, intents: int, least: float) -> Candidates:
        """Open windows in which an intent reaches `least`.

        The first `intents` labels are intents.
        """
        tops = smoothed[:, :intents].argmax(axis=1)
        values = smoothed[np.arange(len(tops)), tops]
        windows = np.flatnonzero(one.open & (values >= least))
        return cls(windows, tops[windows], values[windows])


def verified_scores(
    candidates: Candidates, posteriors: Floats, verification: Verification
) -> NDArray[np.float64]:
    """Verified scores of candidates, shape (n,); see `Verification.score`.

    `posteriors`: the verifier's, shape (n, labels).
    """
    mine = posteriors[np.arange(len(posteriors)), candidates.labels]
    return verification.score(candidates.smoothed, mine)


def highest_scores(candidates: Candidates, scores: NDArray[np.float64], labels: int) -> Floats:
    """The greatest score of each label, shape (labels,).

    0 where it is never a candidate.
    """
    found = np.zeros(labels, np.float32)
    np.maximum.at(found, candidates.labels, scores.astype(np.float32))
    return found
