"""`intentd-train export`, and the examples of docs/export.md."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from support.forked import run_forked
from support.taught import run_command
from support.web_packages import BROWSER, NODE, WEB_RUNTIME

from daemon.commands.replay import DEMO
from daemon.model.classifier import load_classifier
from daemon.model.description.resolve import bundled_model

DOCS = Path(__file__).parents[3] / "docs" / "export.md"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "exported"
    assert run_command("export", "bundled", "--to", "onnx", "--output", folder) == 0
    return folder


def block(language: str, number: int = 0) -> str:
    """A block of code of the page."""
    found = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return str(found[number])


def demo() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    samples, rate = soundfile.read(str(DEMO), dtype="float32")
    assert rate == 16_000
    return samples  # type: ignore[no-any-return]


def replayed() -> list[tuple[str, float]]:
    """Label and time of firing in the demo, without the gate."""
    done = run_forked(
        "daemon",
        *("replay", "--demo", "--speed", "max", "--headless", "--jsonl", "-"),
        *("--set", "model.verifier=off"),
        *("--model", "bundled", "--set", "gate.kind=off", "--set", "model.backend=torch"),
    )
    lines = done.stdout.splitlines()
    events = [each for each in map(json.loads, lines) if each["type"] == "event"]
    return [(event["intent"], event["at_stream"]) for event in events]


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, float]]:
    found = replayed()
    assert len(found) >= 5
    return found


def test_gives_the_models_scores_of_real_windows(exported: Path) -> None:
    classifier = load_classifier(bundled_model(), backend="torch")
    samples = demo()
    windows = np.stack([samples[n : n + 16_000] for n in range(0, 20 * 16_000, 16_000)])
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    found = session.run(["scores"], {"samples": windows})[0]
    assert np.abs(found - classifier.classify(windows)).max() < 1e-3
    about = json.loads((exported / "model.json").read_text())
    assert about["labels"] == list(classifier.labels)
    assert about["thresholds"]["up"] == classifier.info.settings()["events"]["thresholds"]["up"]
    assert set(about["non_intents"]).isdisjoint(about["thresholds"])


def test_the_python_example_detects_what_intentd_detects(
    exported: Path, expected: list[tuple[str, float]], tmp_path: Path
) -> None:
    script = tmp_path / "detect.py"
    script.write_text(block("python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(exported), str(DEMO)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [label for _, _, label, _ in rows] == [label for label, _ in expected]
    times = [float(at) for at, _, _, _ in rows]
    assert times == pytest.approx([at for _, at in expected], abs=0.011)


PAGE = """<!doctype html><pre id="heard">not finished</pre><script type="module">
import { Detector } from "./detector.mjs";
const heard = document.getElementById("heard");
try {
  const detector = await Detector.load("exported");
  const samples = new Float32Array(await (await fetch("demo.f32")).arrayBuffer());
  const events = [];
  for (let at = 0; at < samples.length; at += 5000)
    events.push(...(await detector.push(samples.slice(at, at + 5000))));
  heard.textContent = JSON.stringify(events);
} catch (error) { heard.textContent = "failed: " + error; }
await fetch("done", { method: "POST", body: heard.textContent });
</script>"""


class Site(http.server.SimpleHTTPRequestHandler):
    """The page's files; what it posts is kept."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        self.server.posted.append(body)  # type: ignore[attr-defined]
        self.server.done.set()  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    handler = functools.partial(Site, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.posted, server.done = [], threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


HARNESS = """
import fs from "node:fs";
const fetched = globalThis.fetch;
globalThis.fetch = (url, ...rest) =>
  /^[a-z]+:/.test(String(url)) ? fetched(url, ...rest) : new Response(fs.readFileSync(url));
const { Detector } = await import("./detector.mjs");
const detector = await Detector.load("exported");
const { buffer } = new Uint8Array(fs.readFileSync("demo.f32"));
const samples = new Float32Array(buffer);
const events = [];
for (let at = 0; at < samples.length; at += 5000)
  events.push(...(await detector.push(samples.slice(at, at + 5000))));
console.log(JSON.stringify(events));
"""


@pytest.mark.skipif(not (WEB_RUNTIME and NODE), reason="needs Node.js and onnxruntime-web")
def test_the_javascript_example_detects_what_intentd_detects(
    exported: Path, expected: list[tuple[str, float]], tmp_path: Path
) -> None:
    assert WEB_RUNTIME and NODE
    (tmp_path / "node_modules").symlink_to(WEB_RUNTIME.parent)
    shutil.copytree(exported, tmp_path / "exported")
    # The same WebAssembly; only the way in which it is loaded is the browser's own.
    code = block("js").replace("./ort.wasm.min.mjs", "onnxruntime-web")
    code = code.replace("create(`${folder}/model.onnx`)", "create(`./${folder}/model.onnx`)")
    (tmp_path / "detector.mjs").write_text(code, encoding="utf-8")
    (tmp_path / "run.mjs").write_text(HARNESS, encoding="utf-8")
    demo().tofile(tmp_path / "demo.f32")
    done = subprocess.run(
        [NODE, "run.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout)
    assert [(event["label"], event["seconds"]) for event in events] == [
        (label, pytest.approx(at, abs=0.011)) for label, at in expected
    ]


@pytest.mark.skipif(not (WEB_RUNTIME and BROWSER), reason="needs Chromium and onnxruntime-web")
def test_the_browser_example_detects_what_intentd_detects(
    exported: Path,
    expected: list[tuple[str, float]],
    tmp_path: Path,
    site: http.server.ThreadingHTTPServer,
) -> None:
    assert WEB_RUNTIME and BROWSER
    for file in (WEB_RUNTIME / "dist").glob("ort*"):
        shutil.copy(file, tmp_path)
    shutil.copytree(exported, tmp_path / "exported")
    (tmp_path / "detector.mjs").write_text(block("js"), encoding="utf-8")
    (tmp_path / "test.html").write_text(PAGE, encoding="utf-8")
    demo().tofile(tmp_path / "demo.f32")
    browser = subprocess.Popen(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"http://127.0.0.1:{site.server_address[1]}/test.html",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert site.done.wait(200)  # type: ignore[attr-defined]
    finally:
        browser.terminate()
        browser.wait(20)
    events = json.loads(site.posted[0])  # type: ignore[attr-defined]
    assert [(event["label"], event["seconds"]) for event in events] == [
        (label, pytest.approx(at, abs=0.011)) for label, at in expected
    ]
