"""Malformed recordings, settings, models and manifests: no crash or hang.

A failure names its case, "KIND SEED"; see fuzz_worker.py for how to run one alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fuzz.pool import Report, run_cases
from support.making import make_tiny_model

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured in /proc"
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that works, with everything that a model can say of itself."""
    return make_tiny_model(
        tmp_path_factory.mktemp("fuzz") / "model",
        intentd={
            "window": 1.0,
            "hop": 0.24,
            "unit": "word",
            "temperature": 1.3,
            "non_intents": ["background"],
            "thresholds": {"up": 0.55},
            "gate": {"kind": "energy"},
            "rolling": {"windows": 2},
            "events": {"threshold": 0.6, "refractory": 0.5},
            "measured": {"note": "random weights"},
        },
    )


def judge(report: Report, recordings: int, settings: int, models: int, manifests: int) -> None:
    assert not report.failures, "\n\n".join(report.failures[:5])
    found = report.outcomes
    print(dict(found), f"slowest {report.slowest:.2f} s, largest {report.largest >> 20} MB")
    assert sum(found.values()) == recordings + settings + models + manifests
    # A fuzzer whose every case is turned away at the door tries nothing behind it.
    assert found["recording heard"] > recordings / 8
    assert found["recording odd"] > recordings / 60
    assert found["settings taken"] > settings / 50
    assert found["model used"] > models / 20
    assert found["manifest read"] > manifests / 4
    assert found["manifest refused"] > manifests / 20


def test_malformed_input_is_decoded_or_refused(model: Path) -> None:
    cases = [("recording", seed) for seed in range(120)]
    cases += [("settings", seed) for seed in range(90)]
    cases += [("model", seed) for seed in range(30)]
    cases += [("manifest", seed) for seed in range(60)]
    judge(run_cases(cases, model), 120, 90, 30, 60)


@pytest.mark.soak
def test_very_much_malformed_input_is_decoded_or_refused(model: Path) -> None:
    cases = [("recording", seed) for seed in range(1000, 11_000)]
    cases += [("settings", seed) for seed in range(1000, 8_000)]
    cases += [("model", seed) for seed in range(1000, 4_000)]
    cases += [("manifest", seed) for seed in range(1000, 3_000)]
    judge(run_cases(cases, model), 10_000, 7_000, 3_000, 2_000)


def test_the_pool_notices(model: Path) -> None:
    """Crashes, hangs, hunger, writing elsewhere, errors and code that runs."""
    cases = [("trial", seed) for seed in (0, 0, 1, 0, 2, 0, 3, 4, 5, 6)]
    report = run_cases(cases, model, workers=1, hang=2.0)
    Path("/tmp/intentd-fuzz-trial").unlink(missing_ok=True)
    assert report.outcomes == {"trial fine": 4, "trial unnoticed": 1}
    said = "\n".join(report.failures)
    for part in (
        "trial 1: the process died: SIGABRT",
        "trial 2: no end after 4 s",
        "trial 3: took ",
        "trial 4: \nforbidden: [\"wrote to '/tmp/intentd-fuzz-trial'\"]",
        "ZeroDivisionError",
        "os.system",
    ):
        assert part in said, part
    assert len(report.failures) == 6
