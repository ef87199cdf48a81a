"""The synthesisers that tests of `intentd-train synthesize` need."""

from __future__ import annotations

import shutil


def missing_synthesisers() -> list[str]:
    """Debian packages of synthesisers that are missing.

    The program has the same name.
    """
    return [name for name in ("espeak-ng", "flite") if shutil.which(name) is None]
