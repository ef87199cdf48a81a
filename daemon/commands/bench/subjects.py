"""Subjects that take windows: transformers' pipeline, intentd's backends.

The windows follow each other as those of a stream do.
"""

from __future__ import annotations

from typing import Any

from daemon.base.audio import RATE
from daemon.model.probe import following_windows

WINDOWS = 128
"""Of speech, from which it begins again."""

Figures = dict[str, Any]


def pipeline(what: Figures) -> tuple[Any, Figures]:
    """transformers' own pipeline on the processor, with torch's threads.

    `what`: model, window (samples), hop (seconds).
    """
    import torch
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    run = make("audio-classification", model=what["model"], device="cpu", trust_remote_code=False)
    windows = following_windows(what["window"], round(what["hop"] * RATE), WINDOWS)

    def classify(order: Figures) -> Figures:
        for number in range(order["windows"]):
            run({"raw": windows[number % len(windows)], "sampling_rate": RATE})
        return {}

    classify({"windows": 2})
    return classify, {"threads": torch.get_num_threads()}


def backend(what: Figures) -> tuple[Any, Figures]:
    """intentd's classifier on one backend.

    `what`: model, backend, threads, window and hop (seconds), batch (the largest), sizes (of
    batches).
    """
    from daemon.model.classifier import load_classifier

    classifier = load_classifier(
        what["model"],
        backend=what["backend"],
        threads=what["threads"],
        window_seconds=what["window"],
        hop_seconds=what["hop"],
        max_batch=what["batch"],
    )
    count = max(WINDOWS, *what["sizes"])
    windows = following_windows(classifier.window, round(what["hop"] * RATE), count)
    at = 0

    def classify(order: Figures) -> Figures:
        nonlocal at
        size = order["size"]
        for _ in range(order["calls"]):
            at = 0 if at + size > count else at
            classifier.classify(windows[at : at + size])
            at += size
        return {}

    for size in what["sizes"]:
        classify({"calls": 1, "size": size})  # OpenVINO prepares itself for each size
    choice = None if classifier.choice is None else classifier.choice.text()
    return classify, {"name": classifier.backend, "choice": choice}
