"""Plots of the report: loss, confusion, reliability, trade-off, noise.

The trade-off is misses against false alarms.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from daemon.base.text import screen_text
from daemon.base.text_files import write_bytes
from train import metrics
from train.evaluation.evaluate import Evaluation

mpl.use("Agg")
from matplotlib import pyplot

mpl.rcParams["text.parse_math"] = False  # a label $x$ is no formula

SIZE = (6.4, 4.4)
LONGEST_LABEL = 40
"""Characters of a label that are drawn."""


def loss(path: Path, log: Sequence[dict[str, Any]]) -> None:
    """Training loss, validation loss and accuracy by step.

    `log`: the trainer's log history.
    """
    figure, axes = pyplot.subplots(figsize=SIZE)
    steps = [(entry["step"], float(entry["loss"])) for entry in log if "loss" in entry]
    held = [(entry["step"], float(entry["eval_loss"])) for entry in log if "eval_loss" in entry]
    right = [
        (entry["step"], float(entry["eval_accuracy"])) for entry in log if "eval_accuracy" in entry
    ]
    if steps:
        axes.plot(*zip(*steps, strict=True), label="training loss", linewidth=0.8)
    if held:
        axes.plot(*zip(*held, strict=True), "o-", label="validation loss", markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(loc="upper right")
    if right:
        other = axes.twinx()
        other.plot(*zip(*right, strict=True), "s--", color="tab:green", markersize=3)
        other.set_ylabel("validation accuracy", color="tab:green")
        other.set_ylim(0, 1)
    _save(figure, path)


def confusion(path: Path, found: Evaluation) -> None:
    """Confusion matrix: predicted labels as shares of each true label."""
    counts = found.confusion()
    present = np.flatnonzero(counts.sum(axis=1) + counts.sum(axis=0))
    counts = counts[np.ix_(present, present)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    labels = [screen_text(found.labels[n])[:LONGEST_LABEL] for n in present]
    side = max(4.4, 0.45 * len(labels) + 1.6)
    figure, axes = pyplot.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row in range(len(labels)):
        for column in range(len(labels)):
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    str(counts[row, column]),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if shares[row, column] > 0.5 else "black",
                )
    _save(figure, path)


def reliability(path: Path, found: Evaluation) -> None:
    """Accuracy of the top label against its probability."""
    figure, axes = pyplot.subplots(figsize=SIZE)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    first = found.conditions[0]
    for name, judged in (("windows", first.windows), ("recordings", first.utterances)):
        if len(judged.references):
            bins = metrics.reliability(judged.probabilities, judged.references)
            error = metrics.calibration_error(judged.probabilities, judged.references)
            axes.plot(
                [b[0] for b in bins],
                [b[1] for b in bins],
                "o-",
                label=f"{name}: error {error:.3f}, N={len(judged.references)}",
            )
    axes.set_xlabel("probability of the top label")
    axes.set_ylabel("share that is right")
    axes.legend()
    _save(figure, path)


def trade_off(path: Path, curve: Sequence[dict[str, float]], chosen: tuple[float, float]) -> None:
    """Misses against false alarms an hour with one threshold for all labels.

    The `chosen` point (false alarms an hour, miss rate) has one for each.
    """
    figure, axes = pyplot.subplots(figsize=SIZE)
    axes.plot(
        [point["false_alarms_per_hour"] for point in curve],
        [point["miss_rate"] for point in curve],
        "o-",
        markersize=3,
        label="one threshold for all labels",
    )
    axes.plot(*chosen, "r*", markersize=12, label="chosen, a threshold for each")
    axes.set_xscale("symlog", linthresh=1.0)
    axes.xaxis.set_major_formatter("{x:g}")  # the scale's own writes formulas
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.set_xlabel("false alarms an hour (streams of the calibration)")
    axes.set_ylabel("share of words missed")
    axes.legend()
    _save(figure, path)


def noise(path: Path, found: Evaluation) -> None:
    """Accuracy of recordings and hits of streams by noise, 95 % intervals."""
    figure, axes = pyplot.subplots(figsize=SIZE)
    names = ["none" if c.level is None else f"{c.level:g} dB" for c in found.conditions]
    for name, pairs in (
        (
            "recordings",
            [
                (
                    int((c.utterances.probabilities.argmax(-1) == c.utterances.references).sum()),
                    len(c.utterances.references),
                )
                for c in found.conditions
            ],
        ),
        (
            "words heard in the stream",
            [(c.stream.hits, c.stream.references) for c in found.conditions],
        ),
    ):
        shares = np.array([hits / max(1, n) for hits, n in pairs])
        limits = np.array([metrics.wilson(hits, n) for hits, n in pairs])
        axes.errorbar(
            names,
            shares,
            yerr=np.maximum(0, np.abs(limits.T - shares)),
            fmt="o-",
            capsize=3,
            label=name,
        )
    axes.set_ylim(0, 1)
    axes.set_xlabel("speech over noise")
    axes.set_ylabel("share that is right")
    axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    picture = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks
            figure.tight_layout()
            figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    finally:
        pyplot.close(figure)
    write_bytes(path, picture.getvalue())
