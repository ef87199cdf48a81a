"""A model twice as slow as the sound: said, bounded, recovered from."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support.making import speechlike

if sys.platform == "win32":
    pytest.skip("signals are sent as POSIX does", allow_module_level=True)

from support.running import HOP, RATE, Model, Run, balanced

from daemon.messages import Gap, Prediction, Status
from daemon.runtime.lag import REPEAT_SECONDS

pytestmark = pytest.mark.timed

SLOW_SECONDS = 60.0
LAG_LIMIT = 1.5


@pytest.mark.soak
def test_a_minute_at_twice_the_hop() -> None:
    seconds = SLOW_SECONDS + 8.0
    model = Model(lambda since: 2 * HOP if since < SLOW_SECONDS else 0.0)
    run = Run(speechlike(seconds), model, live=True, lag_limit=LAG_LIMIT)
    assert run.run()[0] == 0
    begun = run.output.messages[0][0]
    said = [(at - begun, m) for at, m in run.output.messages if isinstance(m, Status)]
    slow = [at for at, status in said if "too slow" in status.text]
    assert slow[0] < 2.0
    # Said again while it lasts, and not all the time.
    assert SLOW_SECONDS / REPEAT_SECONDS - 2 <= len(slow) <= SLOW_SECONDS / REPEAT_SECONDS + 1
    assert "caught up" in said[-1][1].text and said[-1][0] < SLOW_SECONDS + 5.0
    latencies = [
        (at - begun, m.latency_ms)
        for at, m in run.output.messages
        if isinstance(m, Prediction) and m.latency_ms is not None
    ]
    bound = 1000 * (LAG_LIMIT + 2 * 4 * 2 * HOP + 0.5)
    assert max(ms for _, ms in latencies) < bound
    # It does not creep: the last twenty seconds are no worse than the twenty before.
    early = [ms for at, ms in latencies if 15 < at < 35]
    late = [ms for at, ms in latencies if 38 < at < 58]
    assert np.percentile(late, 95) < 1.2 * np.percentile(early, 95) + 50
    assert np.median([ms for _, ms in latencies[-20:-5]]) < 200
    gaps = run.output.of(Gap)
    summary = run.output.summary
    assert gaps and summary.samples_lost == sum(
        gap.samples_lost for gap in gaps if isinstance(gap, Gap)
    )
    assert balanced(summary) and summary.samples_captured == round(seconds * RATE)
