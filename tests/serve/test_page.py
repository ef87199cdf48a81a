"""The page in a real browser, whose microphone plays the demo recording."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.browser import Browser
from support.served import Served
from support.web_packages import BROWSER

BUNDLED = Path(str(files("daemon"))) / "bundled"

pytestmark = [
    pytest.mark.live,
    # A browser that gets no time drops sound before the page has it.
    pytest.mark.timed,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]
EVENTS = "[...document.querySelectorAll('#events .intent')].map((each) => each.textContent)"


def test_the_browsers_microphone_is_heard_and_shown(tmp_path: Path) -> None:
    samples, rate = soundfile.read(BUNDLED / "demo.flac", dtype="int16")
    words = [w for w in json.loads((BUNDLED / "demo.json").read_text()) if w["intent"]]
    # The browser plays it as 48 kHz, and goes on when it has come to its end.
    recording = tmp_path / "demo.wav"
    soundfile.write(recording, np.concatenate([np.zeros(rate, np.int16), samples]), rate)
    with Served(tmp_path, "http://127.0.0.1:0") as served, Browser(tmp_path, recording) as browser:
        page = browser.open(served.address)
        page.wait_for("document.readyState === 'complete' && !!document.querySelector('#listen')")
        page.run("document.querySelector('#listen').click()")
        page.wait_for("document.querySelectorAll('.bar').length")
        labels = page.run("[...document.querySelectorAll('.bar')].map((b) => b.dataset.label)")
        assert labels[:3] == ["up", "down", "left"]
        assert page.wait_for("document.querySelector('#level').value") > 0
        shown = page.wait_for(f"{EVENTS}.length >= {len(words)} && {EVENTS}")
        assert shown[::-1] == [word["intent"] for word in words]
        assert "Listening" in page.run("document.querySelector('#state').textContent")
        page.run("document.querySelector('#listen').click()")
        (summary,) = served.wait_for_lines("summary", 1)
        assert summary["samples_lost"] == 0 and summary["events"] == len(words)
        assert [e["intent"] for e in served.lines("event")] == shown[::-1]
        assert served.end() == 0
