"""Applies lossy codecs to recordings, so that none gives a label away.

Opus, Vorbis and MP3 are libsndfile's, at random bit rates; µ-law is ITU-T G.711's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from daemon.base.audio import RATE
from train.augment import Audio

Pcm = NDArray[np.int16]
FORMATS = (("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))
LEVELS = {"OPUS": (0.9, 1.0), "VORBIS": (0.2, 1.0), "MPEG_LAYER_III": (0.2, 0.97)}
"""libsndfile's compression levels: Opus 6 to 31 kbit/s, Vorbis 26 to 60, MP3 17 to 50."""
MOST_DELAY = 2_400
"""MP3's and its filters' delay is sought up to this; libsndfile takes off what the file tells."""


def coded(samples: Audio, rng: np.random.Generator) -> Audio:
    """`samples` through one of FORMATS at a random bit rate.

    Length and timing stay.
    """
    container, codec = FORMATS[int(rng.integers(len(FORMATS)))]
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(samples, -1, 1),
        RATE,
        format=container,
        subtype=codec,
        compression_level=float(rng.uniform(*LEVELS[codec])),
    )
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0]
    if len(decoded) > len(samples):
        decoded = decoded[_delay(decoded, samples) :]
    made = np.zeros(len(samples), np.float32)
    kept = decoded[: len(samples)]
    made[: len(kept)] = kept
    return made


def _delay(decoded: Audio, samples: Audio) -> int:
    """Samples that `decoded` lies behind `samples`, by cross-correlation."""
    length = len(decoded) + len(samples)
    spectrum = np.fft.rfft(decoded, length) * np.conj(np.fft.rfft(samples, length))
    return int(np.fft.irfft(spectrum, length)[:MOST_DELAY].argmax())


def mu_law(samples: Audio) -> Audio:
    """`samples` as a telephone carries them: 8 kHz, 8-bit µ-law (G.711)."""
    narrow = np.clip(soxr.resample(samples, RATE, 8_000), -1, 1)
    pressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    steps = np.round(pressed * 127.5 - 0.5) + 0.5
    wide = np.sign(steps) * (256 ** (np.abs(steps) / 127.5) - 1) / 255
    made = np.zeros(len(samples), np.float32)
    again = soxr.resample(wide.astype(np.float32), 8_000, RATE)[: len(samples)]
    made[: len(again)] = again
    return made


class CodedRecordings:
    """16-bit recordings, a share of which is heard as a codec left them.

    Which, and by what codec, depends on the seed and on the place in the list alone. A recording
    is coded when it is first asked for, since Opus takes a tenth of its length.
    """

    def __init__(self, recordings: Sequence[Pcm], share: float, seed: int) -> None:
        self._recordings = recordings
        self._share, self._seed = share, seed
        self._coded: dict[int, Pcm] = {}

    def __len__(self) -> int:
        return len(self._recordings)

    def audio(self, number: int) -> Audio:
        """Samples of a recording, float32 in [-1, 1)."""
        samples = self._recordings[number]
        if self._share:
            if number not in self._coded:
                rng = np.random.default_rng((self._seed, number))
                if rng.random() < self._share:
                    plain = samples.astype(np.float32) / np.float32(32768)
                    made = np.clip(np.rint(coded(plain, rng) * 32768), -32768, 32767)
                    samples = made.astype(np.int16)
                self._coded[number] = samples
            samples = self._coded[number]
        return samples.astype(np.float32) / np.float32(32768)
