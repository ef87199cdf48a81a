"""The verifier's posteriors of candidates in scored recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daemon.messages import Scores
from daemon.model.verifier.filterbank import SOUND
from daemon.windowing import high_passed
from train.augment import Audio
from train.simulation.offline import CachedScores, EventReplay, SimulationSettings

Posterior = Callable[[NDArray[np.float32]], Scores]
"""The verifier: sound, shape (SOUND,), to the probability of each label."""


def verified(
    cached: CachedScores,
    audio: Audio,
    settings: SimulationSettings,
    temperature: float,
    posterior: Posterior,
    rolling_windows: Iterable[int] = (),
) -> CachedScores:
    """`cached` of `audio` with the verifier's posteriors of candidates.

    They depend on `settings.verification.candidate`, and on neither thresholds nor weights.
    `rolling_windows`: other values of rolling.windows that it will be replayed with.
    """
    if settings.verification is None:
        return cached
    unverified = replace(settings, verification=None)
    replay = EventReplay(cached, unverified, temperature)
    windows: set[int] = set()
    for count in {settings.rolling.windows, *rolling_windows}:
        rolling = settings.rolling.model_copy(update={"windows": count})
        windows |= _candidates(replay, replace(settings, rolling=rolling))
    sound = high_passed(audio)
    posteriors = {index: posterior(before(sound, index, settings)) for index in sorted(windows)}
    return replace(cached, verifier_posteriors=posteriors)


def _candidates(replay: EventReplay, settings: SimulationSettings) -> set[int]:
    assert settings.verification is not None
    # A label stays active, and is asked about, until it falls below its release value.
    least = settings.verification.candidate * settings.events.release
    intents = [n for n, label in enumerate(settings.labels) if label not in settings.non_intents]
    return {
        index
        for index, (_, _, scores, rolling, _) in enumerate(replay.smoothed(settings))
        if scores is not None and rolling[intents].max() >= least
    }


def before(sound: Audio, index: int, settings: SimulationSettings) -> NDArray[np.float32]:
    """The verifier's input at a window: the 1.5 s that end with it.

    Of a recording that is high-passed; zeros where there is no sound.
    """
    end = index * settings.hop_samples + settings.window_samples
    first, last = max(0, end - SOUND), min(end, len(sound))
    found = np.zeros(SOUND, np.float32)
    start = SOUND - (end - first)
    found[start : start + max(0, last - first)] = sound[first:last]
    return found
