"""Makes the demo recording by two synthesisers: commands, talk, noise.

    python tools/make_demo.py daemon/bundled/demo.flac

Beside the recording a .json of the same name lists what is said when. Everything is drawn from one
seed, so the same synthesisers write the same recording.

Its words and voices were picked among 20 voices for what the bundled model hears with a margin over
its thresholds wherever a window begins, and such voices were trained on.
So it shows and guards that the program works; it measures nothing of how good the model is.
Needs the packages flite and espeak-ng.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from train.augment import rms, word_bounds
from train.data.synthesis import Voice, speak

RATE = 16_000
SECONDS = 30
NOISE_DBFS = -48.0

SLT = Voice("flite", "slt", 1.0, 1.0)
RMS = Voice("flite", "rms", 1.1, 0.85)
AWB = Voice("flite", "awb", 1.0, 0.85)
KAL = Voice("flite", "kal16", 1.1, 1.0)
ESPEAK_US = Voice("espeak-ng", "en-us", 1.0, 0.85)
ESPEAK_GB = Voice("espeak-ng", "en-gb", 1.0, 0.95)
ESPEAK_M3 = Voice("espeak-ng", "en-gb+m3", 1.0, 0.85)

SCRIPT: tuple[tuple[float, Voice, str, str | None], ...] = (
    # when it begins, who says it, what is said, the intent it is (None: talk)
    (1.0, ESPEAK_GB, "left.", "left"),
    (3.2, RMS, "The weather report is on in the evening.", None),
    (7.0, AWB, "go.", "go"),
    (9.5, ESPEAK_M3, "one.", "one"),
    (12.0, AWB, "My older brother forgot the train ticket.", None),
    (16.0, RMS, "five.", "five"),
    (18.5, KAL, "right.", "right"),
    (21.0, ESPEAK_US, "Some bread and butter, please.", None),
    (24.5, AWB, "zero.", "zero"),
    (27.0, SLT, "down.", "down"),
)


def pink(length: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Noise whose power falls with frequency, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20))
    noise = np.fft.irfft(spectrum, length).astype(np.float32)
    return noise / np.float32(rms(noise))


def main() -> None:
    target = Path(sys.argv[1])
    rng = np.random.default_rng(0)
    sound = pink(SECONDS * RATE, rng) * np.float32(10 ** (NOISE_DBFS / 20))
    truth = []
    for begin, voice, text, intent in SCRIPT:
        spoken = speak(text, voice)
        spoken *= np.float32(0.08 / rms(spoken))
        at = round(begin * RATE)
        sound[at : at + len(spoken)] += spoken
        first, last = word_bounds(spoken) if intent else (0, len(spoken))
        truth.append(
            {
                "text": text.rstrip("."),
                "intent": intent,
                "start": round(begin + first / RATE, 3),
                "end": round(begin + last / RATE, 3),
            }
        )
    soundfile.write(target, np.clip(sound, -1, 1), RATE, subtype="PCM_16")
    target.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
