"""What pictures say."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from train.report import plots


def test_a_logarithmic_scale_has_figures_and_no_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, _path: drawn.append(figure))
    curve = [{"false_alarms_per_hour": 40.0 / n, "miss_rate": n / 10} for n in range(1, 9)]
    plots.trade_off(Path("unused"), curve, (0.0, 0.9))
    drawn[0].canvas.draw()
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert {"0", "1", "10"} <= set(labels)
    assert not any("$" in label for label in labels)
