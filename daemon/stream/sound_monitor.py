"""Finds faults of sound: offset, clipping, low level, narrow band.

Pure: fed with blocks, no clocks. Each fault is reported once, with its figure and the fix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE

OFFSET: Final = 0.02
"""Mean, as a share of full scale, from which on an offset is reported."""
CLIPPED_SHARE: Final = 0.05
"""Share of the loud frames that must be clipped."""
CLIPPED_LEAST: Final = 3
"""Frames that must be clipped."""
QUIET_DB: Final = -34.0
"""dBFS below which the peaks of speech are too low: the model hears fewer words from there on."""
INAUDIBLE_DB: Final = -50.0
"""dBFS; a recording without speech whose peak is lower is quiet rather than empty."""
DEAF_DB: Final = -85.0
"""dBFS (RMS); the noise of any microphone and its amplifier is louder, a muted one is not."""
DEAF_SECONDS: Final = 10.0
"""Seconds at the beginning that must be as quiet as that."""
NARROW_DB: Final = -42.0
"""Power per hertz of 5 to 7.5 kHz over that of 1 to 3 kHz, in speech, below which the band is
narrow. Of speech at 16 kHz no group of eight words lay below -25 dB, through a telephone's filter
none above -38 dB and most below -60 dB."""
SPEECH_WINDOWS: Final = 8
"""Windows with speech that level and band are judged by."""
_BIN: Final = 100
"""Hz that one value of the spectrum stands for."""
_PERIOD: Final = 2.0
_FRAME: Final = 0.1
_LOUD: Final = 0.1
"""Peak to peak, from which on a frame is looked at for clipping."""
_FLAT_SHARE, _FLAT_SHARE_AT_FULL_SCALE = 0.01, 0.002
"""Share of a frame's samples that repeat the one before at the frame's extreme."""
_FULL_SCALE: Final = 0.99


class SoundMonitor:
    """Faults of one stream's sound."""

    def __init__(self, rate: int, *, live: bool) -> None:
        """A monitor of a source at `rate` Hz.

        Of live sound nothing is concluded from its end.
        """
        self._rate = rate
        self._live = live
        self._judges_level = True
        self._found: list[str] = []
        self._finished = False
        self._samples = 0
        self._peak = 0.0
        self._deaf_power = 0.0
        self._offset = _Offset(round(_PERIOD * rate))
        self._clipping = _Clipping(max(2, round(_FRAME * rate)))
        self._speech = _Speech()

    def feed(self, mono: NDArray[np.float32]) -> None:
        """The next samples as the source gave them, shape (n,), n > 0."""
        if self._live and self._samples < DEAF_SECONDS * self._rate:
            self._deaf_power += float(np.dot(mono, mono))
            if self._samples + len(mono) >= DEAF_SECONDS * self._rate:
                self._look_at_deafness(self._samples + len(mono))
        self._samples += len(mono)
        self._peak = max(self._peak, float(mono.max()), -float(mono.min()))
        self._offset.feed(mono, self._found.append)
        self._clipping.feed(mono, self._found.append)

    def ignore_level(self) -> None:
        """Report no low level from now on."""
        self._judges_level = False
        self._speech.judges_level = False

    def speech(self, window: NDArray[np.float32]) -> None:
        """A window with speech at 16 kHz, high-passed, shape (n,)."""
        self._speech.add(window, self._found.append)

    def finish(self) -> None:
        """No more sound will come; may be called again."""
        if self._live or not self._samples or self._finished:
            return
        self._finished = True
        self._offset.judge(self._found.append)
        if self._speech.windows:
            self._speech.judge(self._found.append)
        elif self._judges_level and self._peak < 10 ** (INAUDIBLE_DB / 20):
            self._found.append(
                f"no speech was found, and the sound is very quiet, its peak {_db(self._peak)}: "
                "raise the input's volume, or choose another input or channel"
            )

    def take(self) -> list[str]:
        """Sentences that were not taken before."""
        found, self._found = self._found, []
        return found

    def _look_at_deafness(self, samples: int) -> None:
        level = math.sqrt(self._deaf_power / samples)
        if self._judges_level and level < 10 ** (DEAF_DB / 20):
            self._found.append(
                f"the microphone gives next to silence, level {_db(level)}: unmute it, or choose "
                "another input with audio.device"
            )


class _Offset:
    """The mean of every two seconds."""

    def __init__(self, period: int) -> None:
        self._period = period
        self._sum = 0.0
        self._count = 0
        self._done = False

    def feed(self, mono: NDArray[np.float32], tell: Callable[[str], None]) -> None:
        if self._done:
            return
        self._sum += float(mono.sum(dtype=np.float64))
        self._count += len(mono)
        if self._count >= self._period:
            self.judge(tell)
            self._sum, self._count = 0.0, 0

    def judge(self, tell: Callable[[str], None]) -> None:
        mean = self._sum / self._count if self._count else 0.0
        if self._done or abs(mean) < OFFSET:
            return
        self._done = True
        tell(
            f"the sound has a constant offset of {mean:.2f} of full scale, which is filtered out "
            "but leaves less room for loud sound: try another sound card, cable or input"
        )


class _Clipping:
    """Clipped frames: samples stay at their extreme."""

    def __init__(self, frame: int) -> None:
        self._frame = frame
        self._rest = np.zeros(0, np.float32)
        self._loud = 0
        self._clipped = 0
        self._done = False

    def feed(self, mono: NDArray[np.float32], tell: Callable[[str], None]) -> None:
        if self._done:
            return
        samples = np.concatenate([self._rest, mono]) if len(self._rest) else mono
        if float(samples.max()) - float(samples.min()) < _LOUD:  # then no frame has more
            self._rest = samples[len(samples) // self._frame * self._frame :].copy()
            return
        whole = len(samples) // self._frame * self._frame
        self._rest = samples[whole:].copy()
        frames = samples[:whole].reshape(-1, self._frame)
        if not len(frames):
            return
        high, low = frames.max(axis=1), frames.min(axis=1)
        for frame, top, bottom in zip(frames, high.tolist(), low.tolist(), strict=True):
            if top - bottom < _LOUD:
                continue
            self._loud += 1
            repeated = frame[1:] == frame[:-1]
            extreme = (frame[1:] == np.float32(top)) | (frame[1:] == np.float32(bottom))
            flat = np.count_nonzero(repeated & extreme) / len(frame)
            full = max(top, -bottom) >= _FULL_SCALE
            self._clipped += int(flat >= (_FLAT_SHARE_AT_FULL_SCALE if full else _FLAT_SHARE))
        if self._clipped >= max(CLIPPED_LEAST, CLIPPED_SHARE * self._loud):
            self._done = True
            tell(
                f"the sound is clipped in {100 * self._clipped / self._loud:.0f} % of its loud "
                "moments: lower the input's volume, or go farther away"
            )


class _Speech:
    """Level and band of the first windows with speech, then nothing more."""

    def __init__(self) -> None:
        self.windows = 0
        self.judges_level = True
        self._peaks: list[float] = []
        self._spectrum = np.zeros(RATE // 2 // _BIN)

    def add(self, window: NDArray[np.float32], tell: Callable[[str], None]) -> None:
        if self.windows >= SPEECH_WINDOWS or not len(window):
            return
        self.windows += 1
        self._peaks.append(float(np.abs(window).max()))
        power = np.abs(np.fft.rfft(window, RATE)[1 : RATE // 2 + 1]) ** 2
        self._spectrum += power.reshape(-1, _BIN).mean(axis=1)
        if self.windows == SPEECH_WINDOWS:
            self.judge(tell)

    def judge(self, tell: Callable[[str], None]) -> None:
        if self.windows > SPEECH_WINDOWS or not self.windows:
            return
        self.windows = SPEECH_WINDOWS + 1
        peak = float(np.percentile(self._peaks, 75))
        if self.judges_level and peak < 10 ** (QUIET_DB / 20):
            tell(
                f"the speech is quiet, its peaks at {_db(peak)}, and fewer words are heard so: "
                "raise the input's volume, or go closer"
            )
        band = self._spectrum[1000 // _BIN : 3000 // _BIN].mean()
        high = self._spectrum[5000 // _BIN : 7500 // _BIN].mean()
        if band > 0 and high < band * 10 ** (NARROW_DB / 10):
            present = np.flatnonzero(self._spectrum > band * 10 ** (NARROW_DB / 10))
            edge = (int(present[-1]) + 1) * _BIN / 1000
            tell(
                f"the sound has nothing above {edge:.1f} kHz, as from a telephone or a Bluetooth "
                "headset in a call, and words are told apart less well so: use an input of at "
                "least 16 kHz"
            )


def _db(amplitude: float) -> str:
    return f"{20 * math.log10(max(amplitude, 1e-6)):.0f} dBFS"
