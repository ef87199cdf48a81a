"""The public Python interface: names, figures as the command line's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.virtual_mic import VirtualMic, missing_packages

import daemon
from daemon.commands.replay import DEMO

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def model() -> daemon.Model:
    return daemon.load_model(settings={"model.threads": 1})


def test_the_exported_names() -> None:
    assert sorted(daemon.__all__) == [
        "Event", "Gap", "Message", "Model", "Prediction", "Run", "Status", "Summary", "UserError",
        "Verdict", "__version__", "load_model",
    ]  # fmt: skip
    for name in daemon.__all__:
        assert getattr(daemon, name) is not None
    from daemon import api

    assert sorted(api.__all__) == [name for name in sorted(daemon.__all__) if name[0] != "_"]
    with pytest.raises(AttributeError):
        daemon.nothing  # noqa: B018


def test_importing_it_is_cheap() -> None:
    code = "import sys, daemon; print(len({'numpy', 'torch', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "0\n"


def test_a_replay_says_what_the_command_line_says(model: daemon.Model, tmp_path: Path) -> None:
    messages = list(model.replay(DEMO))
    assert isinstance(messages[-1], daemon.Summary)
    out = tmp_path / "lines.jsonl"
    subprocess.run(
        [
            *(sys.executable, "-m", "daemon", "replay", str(DEMO), "--speed", "max", "--headless"),
            *("--jsonl", str(out), "--set", "model.threads=1"),
        ],
        check=True,
        capture_output=True,
        cwd=ROOT / "tests",
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    kinds = {"prediction": daemon.Prediction, "event": daemon.Event, "summary": daemon.Summary}
    assert [type(message) for message in messages] == [kinds[line["type"]] for line in lines]
    for message, line in zip(messages, lines, strict=True):
        assert getattr(message, "intent", line.get("intent")) == line.get("intent")
        if isinstance(message, daemon.Event):
            assert message.at_stream == pytest.approx(line["at_stream"], abs=0.001)
            assert message.score == pytest.approx(line["score"], abs=0.001)


def test_an_array_gets_the_scores_of_a_recording(model: daemon.Model, tmp_path: Path) -> None:
    samples, rate = soundfile.read(DEMO, dtype="float32")
    scores = model.classify(samples, rate)
    predictions = [m for m in model.replay(DEMO) if isinstance(m, daemon.Prediction)]
    assert scores.shape == (len(predictions), len(model.labels))
    for row, prediction in zip(scores, predictions, strict=True):
        if prediction.scores is not None:
            assert row == pytest.approx(prediction.scores, abs=0.002)
    integers = np.round(samples[:48000] * 32767).astype(np.int16)
    stereo = np.stack([integers, integers], axis=1)
    assert model.classify(stereo, rate) == pytest.approx(model.classify(samples[:48000]), abs=0.02)
    other = np.repeat(samples[:16000], 3)
    assert model.classify(other, 3 * rate).shape == model.classify(samples[:16000]).shape


def test_odd_arrays(model: daemon.Model) -> None:
    assert model.classify([]).shape == (0, len(model.labels))
    assert model.classify(np.zeros(10)).shape == (1, len(model.labels))
    for wrong in (np.zeros((2, 2, 2)), ["a"], np.array(1.0)):
        with pytest.raises(ValueError, match="samples"):
            model.classify(wrong)


def workers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(("worker", "output"))]


def test_a_replay_that_is_broken_off_leaves_nothing_behind(model: daemon.Model) -> None:
    for _ in range(3):
        for message in model.replay(DEMO):
            assert isinstance(message, daemon.Prediction)
            break
    until = time.monotonic() + 10
    while workers() and time.monotonic() < until:
        time.sleep(0.05)
    assert not workers()


def test_runs_take_turns_at_one_model(model: daemon.Model) -> None:
    found: list[list[str]] = []

    def run() -> None:
        events = (m for m in model.replay(DEMO) if isinstance(m, daemon.Event))
        found.append([event.intent for event in events])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and found[0] and found == [found[0]] * 3


def test_settings_are_those_that_are_given_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[window]\nhop = 0.5\n")
    monkeypatch.setenv("INTENTD_WINDOW__HOP", "0.4")
    model = daemon.load_model(settings={"window.hop": 0.2, "model.threads": 1})
    assert len(model.classify(np.zeros(32000))) == 10
    with pytest.raises(daemon.UserError, match=r"gate\.on is 3; it must be 0 to 1"):
        daemon.load_model(settings={"gate.on": 3})
    with pytest.raises(daemon.UserError, match="gate"):
        daemon.load_model(settings={"gaet.on": 0.5})


def test_what_cannot_be_read_is_a_sentence(model: daemon.Model, tmp_path: Path) -> None:
    with pytest.raises(daemon.UserError, match="nowhere"):
        daemon.load_model(tmp_path / "nowhere")
    with pytest.raises(daemon.UserError, match="missing"):
        list(model.replay(tmp_path / "missing.wav"))
    whole = (Path(str(files("daemon"))) / "bundled" / "demo.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    for _ in range(10):  # the error may come after the last message of the stream
        messages = list(model.replay(tmp_path / "cut.flac"))
        assert [m.level for m in messages if isinstance(m, daemon.Status)] == ["error"]
        assert sum(isinstance(m, daemon.Summary) for m in messages) == 1


def desk(folder: Path) -> Path:
    """The recordings that the documents name."""
    samples, rate = soundfile.read(DEMO, frames=4 * 16000)
    for name in ("meeting.wav", "one.flac", "two.flac"):
        soundfile.write(folder / name, samples, rate)
    return folder


def run_python(code: str, folder: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=desk(folder), timeout=240,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_documents_show_works(tmp_path: Path) -> None:
    (first,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert run_python(first, tmp_path) == "0.99 s  left  0.89\n"
    out = run_python("\n".join(b for b in BLOCKS if "listen" not in b), tmp_path)
    assert out.startswith("0.99 s  left  0.89\n['background', ")
    assert "'left'" in out.splitlines()[1] and "one.flac left" in out


@pytest.mark.live
@pytest.mark.skipif(
    bool(missing_packages()), reason=f"needs the packages {' '.join(missing_packages())}"
)
def test_listening_works(tmp_path: Path) -> None:
    (listen,) = [block for block in BLOCKS if "listen" in block]
    stop = (
        "run = model.listen()\nwith run:\n    for message in run:\n"
        "        if isinstance(message, daemon.Prediction):\n            run.stop()\n"
        "assert isinstance(message, daemon.Summary) and message.samples_lost == 0, message\n"
    )
    with VirtualMic() as mic:
        mic.play(DEMO)
        out = run_python(f"{BLOCKS[0]}\n{stop}\n{listen}", tmp_path, **mic.env)
    assert re.search(r"^20\d\d-.*Z \w+$", out.splitlines()[-1])
