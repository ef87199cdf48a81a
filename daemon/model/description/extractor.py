"""Description of a feature extractor, from preprocessor_config.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.model.description.architecture import AST, WHISPER
from daemon.model.description.fields import Fields

Kind = Literal["waveform", "ast", "whisper"]

_TYPES: dict[str, Kind] = {
    "Wav2Vec2FeatureExtractor": "waveform",
    "ASTFeatureExtractor": "ast",
    "WhisperFeatureExtractor": "whisper",
}
_AST_FRAME, _AST_HOP = 400, 160
"""Samples of a frame and between frames in Kaldi's filter bank at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Extractor:
    """The parts of transformers' feature extractor that running needs."""

    kind: Kind
    normalize: bool
    """Zero mean and unit variance: of each window for "waveform" and "whisper"; for "ast" by the
    mean and deviation of its training data."""
    longest: int | None
    """Samples of the longest window that is not cut off, None where there is no limit."""


def read_extractor(preprocessor: Fields, config: Fields, model_type: str) -> Extractor:
    """Read the extractor that the two files describe together.

    Raises:
        UserError: the type is unknown, the rate is not 16 kHz, or a size is absurd or does not fit
            the network.
    """
    usual: Kind = {AST: "ast", WHISPER: "whisper"}.get(model_type, "waveform")  # type: ignore[assignment]
    name = preprocessor.text("feature_extractor_type", "")
    kind = _TYPES.get(name, usual) if name in _TYPES or not name else None
    if kind != usual:
        fitting = next(known for known, its in _TYPES.items() if its == usual)
        raise preprocessor.refuse("feature_extractor_type", f'"{fitting}" for a {model_type} model')
    rate = preprocessor.integer("sampling_rate", RATE, 1, 1 << 20)
    if rate != RATE:
        raise UserError(
            f"{preprocessor.file}: sampling_rate is {rate} Hz; intentd feeds models at {RATE} Hz, "
            "so use a model trained at that rate"
        )
    if usual == "waveform" and preprocessor.integer("feature_size", 1, 1, 1024) != 1:
        raise preprocessor.refuse("feature_size", "1, for mono samples")
    if usual == "ast":
        return _ast(preprocessor, config)
    if usual == "whisper":
        return _whisper(preprocessor, config)
    return Extractor("waveform", preprocessor.flag("do_normalize", True), None)


def _ast(preprocessor: Fields, config: Fields) -> Extractor:
    frames = _same(preprocessor, "max_length", config, "max_length", 1024, 1 << 16)
    _same(preprocessor, "num_mel_bins", config, "num_mel_bins", 128, 1024)
    longest = (frames - 1) * _AST_HOP + _AST_FRAME + _AST_HOP - 1
    return Extractor("ast", preprocessor.flag("do_normalize", True), longest)


def _whisper(preprocessor: Fields, config: Fields) -> Extractor:
    _same(preprocessor, "feature_size", config, "num_mel_bins", 80, 1024)
    hop = preprocessor.integer("hop_length", 160, 1, RATE)
    preprocessor.integer("n_fft", 400, 2, 1 << 16)
    seconds = preprocessor.integer("chunk_length", 30, 1, 600)
    frames = seconds * RATE // hop
    positions = config.integer("max_source_positions", 1500, 1, 1 << 16)
    if frames != 2 * positions:
        raise preprocessor.refuse(
            "chunk_length", f"{2 * positions * hop / RATE:g} for a network of {positions} positions"
        )
    return Extractor("whisper", preprocessor.flag("do_normalize", False), seconds * RATE)


def _same(
    preprocessor: Fields, key: str, config: Fields, other: str, default: int, high: int
) -> int:
    value = preprocessor.integer(key, default, 1, high)
    expected = config.integer(other, default, 1, high)
    if value != expected:
        raise preprocessor.refuse(key, f"{expected}, as {other} in config.json")
    return value
