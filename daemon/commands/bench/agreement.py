"""Compares the scores of each backend and the daemon with transformers'.

The reference runs in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.assembly.setup import Setup, load_model
from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.commands.bench.sounds import read
from daemon.commands.bench.whole import scores_of
from daemon.model.backends import Job, candidates
from daemon.model.classifier import load_classifier
from daemon.model.description.info import ModelInfo
from daemon.model.scores import probabilities
from daemon.windowing import high_passed
from daemon.windowing.windows import all_windows, samples_of

WINDOWS = 500
FOLLOWING = 4
Scores = NDArray[np.float32]
Figures = dict[str, Any]


def agreement(setup: Setup, recordings: Sequence[Path], count: int = WINDOWS) -> Figures:
    """Compare `count` windows of `recordings`, at the configured window, hop.

    They are taken in runs of FOLLOWING, spread evenly. For each way of running: the largest
    difference of a probability, and the share of windows with the same best label.

    Raises: UserError if a recording can't be read or there are too few.
    """
    settings = setup.settings
    window, hop = samples_of(settings.window.seconds), samples_of(settings.window.hop)
    found = [all_windows(high_passed(read(path)), window, hop) for path in recordings]
    everything = np.concatenate(found)
    if len(everything) < count:
        raise UserError(
            f"the recordings hold {len(everything)} windows; name some more, {count} are compared"
        )
    # Some that follow each other at each place, so that what they share is computed once.
    starts = np.linspace(0, len(everything) - FOLLOWING, -(-count // FOLLOWING)).astype(int)
    chosen = (starts[:, None] + np.arange(FOLLOWING)).reshape(-1)[:count]
    windows = everything[chosen]
    expected = probabilities(_reference(setup.info, windows), setup.info)
    seconds, every = settings.window.seconds, settings.window.hop
    rows: list[Figures] = []
    for name in candidates(Job.of(setup.info, seconds, every, settings.model.threads)):
        for batch in (1, settings.model.max_batch):
            classifier = load_classifier(
                setup.info.directory,
                backend=name,
                threads=settings.model.threads,
                window_seconds=seconds,
                hop_seconds=every,
                max_batch=batch,
            )
            way = f"{classifier.backend}, batches of {classifier.max_batch}"
            rows.append(_row(way, classifier.classify(windows), expected))
    classifier = load_model(setup)
    scores = np.concatenate([scores_of(setup, classifier, str(path)) for path in recordings])
    rows.append(_row(f"whole daemon on {classifier.backend}", scores[chosen], expected))
    return {"model": setup.model_name, "windows": count, "ways": rows}


def _reference(info: ModelInfo, windows: Scores) -> Scores:
    """Logits (n, labels) of transformers' model and extractor in float32."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = str(info.directory)
    extractor = AutoFeatureExtractor.from_pretrained(where, local_files_only=True)
    network = AutoModelForAudioClassification.from_pretrained(where, local_files_only=True).float()
    rows = []
    with torch.inference_mode():
        for window in windows:
            inputs = extractor(window, sampling_rate=RATE, return_tensors="pt")
            rows.append(network.eval()(**inputs).logits.numpy())
    return np.concatenate(rows).astype(np.float32)


def _row(way: str, scores: Scores, expected: Scores) -> Figures:
    same = scores.argmax(axis=1) == expected.argmax(axis=1)
    return {
        "way": way,
        "largest_difference": float(np.abs(scores - expected).max()),
        "same_best_label": float(same.mean()),
    }


def text(found: Figures) -> str:
    """The comparison for people."""
    width = max(len(row["way"]) for row in found["ways"])
    lines = [
        f"{found['model']} against transformers in float32 on {found['windows']} windows:",
        f"{'':<{width}}  largest difference  same best label",
    ]
    lines += [
        f"{row['way']:<{width}}  {row['largest_difference']:18.2g}  "
        f"{100 * row['same_best_label']:13.1f} %"
        for row in found["ways"]
    ]
    return "\n".join(lines)
