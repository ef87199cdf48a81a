"""The intents of the recording that comes with intentd, in order."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

_SAID = Path(str(files("daemon"))) / "bundled" / "demo.json"
DEMO: list[str] = [
    each["intent"] for each in json.loads(_SAID.read_text(encoding="utf-8")) if each["intent"]
]
