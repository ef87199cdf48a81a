"""Fixtures of all tests: tiny checkpoints and synthetic recordings."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from support.broker import missing_servers
from support.making import make_tiny_model
from support.speech_packages import missing_synthesisers
from support.virtual_pipewire import missing_pipewire
from support.web_packages import missing_web_packages

# Two cores are shared by the tests and the processes that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What models are converted to, and which backend is the fastest, is found out once for all tests,
# and the user's own cache left alone.
if not os.environ.get("PYTEST_XDIST_WORKER"):  # a worker has the variable from who started it
    _CACHE = tempfile.TemporaryDirectory(prefix="intentd-tests-")
    os.environ["XDG_CACHE_HOME"] = _CACHE.name
# A shell that starts the tests in the background lets them ignore SIGINT; some are about it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Make a skip for a missing package an error where all must be tested."""
    missing = missing_pipewire() + missing_synthesisers() + missing_web_packages()
    missing += missing_servers()
    if missing and os.environ.get("INTENTD_TEST_REQUIRE_PACKAGES"):
        raise pytest.UsageError(f"missing packages: {' '.join(missing)}")


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without the `intentd` key: intentd's defaults apply."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="session")
def word_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with settings, the energy gate and thresholds that fire."""
    return make_tiny_model(
        tmp_path_factory.mktemp("models") / "word",
        intentd={
            "window": 1.0,
            "hop": 0.24,
            "unit": "word",
            "non_intents": ["background"],
            "thresholds": {"up": 0.55},
            "gate": {"kind": "energy"},
            "rolling": {"windows": 2},
            "events": {"threshold": 0.6, "refractory": 0.5},
            "measured": {"note": "random weights"},
        },
    )
