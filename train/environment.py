"""Provenance of a result: its command, its libraries, their messages."""

from __future__ import annotations

import logging
import platform
import shlex
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "intentd",
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "accelerate",
    "numpy",
    "scipy",
    "soxr",
    "soundfile",
)


def versions() -> dict[str, str]:
    """Versions of the packages that a result may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def quiet() -> None:
    """Silence the libraries' progress bars and advice."""
    import datasets
    import transformers

    warnings.filterwarnings("ignore", module=r"(torch|transformers|accelerate|datasets)(\..*)?")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)


def command_line() -> str:
    """The command as a shell takes it, for the model card."""
    return shlex.join(["intentd-train", *sys.argv[1:]])
