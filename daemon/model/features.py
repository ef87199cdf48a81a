"""Converts samples to a network's input, as its feature extractor does.

Wav2Vec2's extractor does no more than normalise, which numpy does on the whole batch at once. The
others' spectrograms are left to transformers' own classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError, first_line
from daemon.model.description.info import ModelInfo

Samples = NDArray[np.float32]

_TINY = 1e-7
"""Added to the variance, as Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm does."""


class Features(Protocol):
    """Prepares batches of windows."""

    input_name: str
    """What the network's forward calls its input."""

    def prepare(self, windows: Sequence[Samples] | Samples) -> Samples:
        """Prepare n windows as the network's input, float32, shape (n, …).

        `windows`: n arrays (samples,) or one array (n, samples). May be called by several threads
        at once. The result may be `windows` itself.
        """


class Waveform:
    """For networks that take samples: Wav2Vec2 and all its kin."""

    input_name = "input_values"

    def __init__(self, normalize: bool) -> None:
        self._normalize = normalize

    def prepare(self, windows: Sequence[Samples] | Samples) -> Samples:
        if self._untouched(windows):
            return windows  # type: ignore[return-value]
        batch = np.array(windows, dtype=np.float32)
        if self._normalize:
            batch -= batch.mean(axis=1, keepdims=True)
            batch /= np.sqrt(np.square(batch).mean(axis=1, keepdims=True) + _TINY)
        return batch

    def _untouched(self, windows: Sequence[Samples] | Samples) -> bool:
        """True if the caller's array can go to the network as it is."""
        return (
            not self._normalize
            and isinstance(windows, np.ndarray)
            and windows.dtype == np.float32
            and windows.flags.c_contiguous
            and windows.flags.writeable  # torch warns of arrays that it could write to but must not
        )


class Spectrogram:
    """Spectrograms of AST and Whisper, by transformers' feature extractors."""

    def __init__(self, extractor: Any) -> None:
        self._extractor = extractor
        self.input_name = str(extractor.model_input_names[0])

    def prepare(self, windows: Sequence[Samples] | Samples) -> Samples:
        made = self._extractor(list(windows), sampling_rate=RATE, return_tensors="np")
        return np.ascontiguousarray(made[self.input_name], dtype=np.float32)


def open_features(info: ModelInfo) -> Features:
    """Open the features of a model.

    Raises:
        UserError: the feature extractor can't be made.
    """
    if info.extractor.kind == "waveform":
        return Waveform(info.extractor.normalize)
    from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

    kind = ASTFeatureExtractor if info.extractor.kind == "ast" else WhisperFeatureExtractor
    try:
        return Spectrogram(kind.from_pretrained(str(info.directory), local_files_only=True))
    except Exception as error:  # its own checks raise what they like
        raise UserError(
            f"the feature extractor of {info.directory} can't be made ({first_line(error)}); "
            "save it again"
        ) from None
