"""Where tests of web pages find Node.js, a browser, onnxruntime-web.

`make test` installs all three; `None` where one is missing.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_ENVIRONMENT = Path(sys.prefix)


def _web_runtime() -> Path | None:
    named = os.environ.get("INTENTD_ORT_WEB")
    folder = Path(named or _ENVIRONMENT / "web" / "node_modules" / "onnxruntime-web")
    return folder.resolve() if folder.is_dir() else None


WEB_RUNTIME = _web_runtime()
"""The package's folder; INTENTD_ORT_WEB names another."""
NODE = shutil.which("node", path=str(_ENVIRONMENT / "bin")) or shutil.which("node")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def missing_web_packages() -> list[str]:
    """What is missing, by name."""
    needed = {"onnxruntime-web": WEB_RUNTIME, "node": NODE, "chromium": BROWSER}
    return [name for name, found in needed.items() if found is None]
