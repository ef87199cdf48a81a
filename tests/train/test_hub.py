"""Pushing to the hub: what goes wrong is a sentence, and the model stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_an_unreachable_hub_is_a_sentence(tmp_path: Path) -> None:
    """In a process of its own: the hub's address is read when its client is imported."""
    (tmp_path / "config.json").write_text("{}")
    code = (
        "from pathlib import Path\n"
        "from daemon.errors import UserError\n"
        "from train.hub import push\n"
        "try:\n"
        "    push(Path('.'), 'someone/model')\n"
        "except UserError as error:\n"
        "    print(error.status, error)\n"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 The model could not be pushed to someone/model (")
    assert "complete in" in done.stdout
    assert (tmp_path / "config.json").exists()
