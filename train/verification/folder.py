"""Writes a verifier's folder into a model's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.decide.verification import Verification
from daemon.model.cache import file_digest
from daemon.model.verifier.description import (
    FOLDER,
    HEAD,
    NETWORK,
    VerifierInfo,
    bundled_network,
    write_description,
)
from daemon.model.verifier.verifier import write_head
from train.linear_head import Head


def write_verifier(
    model: Path,
    labels: Sequence[str],
    head: Head,
    verification: Verification,
    thresholds: Mapping[str, float],
    *,
    rolling_windows: int | None = None,
    network: Path | None = None,
    measured: Mapping[str, Any] | None = None,
) -> VerifierInfo:
    """Write `model`/verifier and return its description.

    Args:
        model: the directory of a saved model.
        labels: the model's, in the order of the head's outputs.
        thresholds: verified score of each intent at which it is an event.
        rolling_windows: what the model's posteriors are smoothed over with it; None: as without.
        network: an ONNX file, which is copied; None: the one that comes with intentd.
        measured: how good it was and on what.
    """
    folder = model / FOLDER
    folder.mkdir(exist_ok=True)
    write_head(folder / HEAD, head.weight, head.bias)
    if network is None or network == bundled_network():
        network = bundled_network()
        (folder / NETWORK).unlink(missing_ok=True)
    else:
        network = Path(shutil.copyfile(network, folder / NETWORK))
    info = VerifierInfo(
        directory=folder,
        labels=tuple(labels),
        network=network,
        sha256=file_digest(network),
        verification=verification,
        thresholds=dict(thresholds),
        rolling_windows=rolling_windows,
        measured=dict(measured or {}),
    )
    write_description(info)
    return info
