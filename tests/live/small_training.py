"""`intentd-train` with a small pack of other talk, at small size."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support.small_world import small_world

from train.cli import main

with tempfile.TemporaryDirectory() as folder, small_world(Path(folder)):
    main()
