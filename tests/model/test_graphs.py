"""Backends that run a converted graph: agreement with torch, the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.model_checkpoints import KINDS, save, windows

from daemon.base.errors import UserError
from daemon.model.backends import conversion
from daemon.model.classifier import load_classifier
from daemon.model.description.info import Calibration, write_intentd_key

Checkpoint = Callable[[str], Path]


pytestmark = pytest.mark.usefixtures("own_graphs")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setattr(conversion, "cache_directory", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        *(("onnx", kind) for kind in KINDS),
        *(("openvino", kind) for kind in ("wav2vec2", "wavlm", "sew-d", "whisper")),
    ],
)
def test_scores_are_those_of_torch(backend: str, kind: str, checkpoint: Checkpoint) -> None:
    sounds = windows(5)
    expected = load_classifier(checkpoint(kind), backend="torch-cpu", threads=1).classify(sounds)
    classifier = load_classifier(checkpoint(kind), backend=backend, threads=1, max_batch=3)
    together = classifier.classify(sounds)
    alone = np.concatenate([classifier.classify(sounds[n : n + 1]) for n in range(5)])
    np.testing.assert_allclose(together, expected, atol=1e-4)
    np.testing.assert_allclose(alone, expected, atol=1e-4)
    assert classifier.backend.startswith(backend)


def test_openvino_in_bf16_agrees_to_three_hundredths(tmp_path: Path) -> None:
    directory = save(tmp_path, initializer_range=0.02)
    sounds = windows(10)
    expected = load_classifier(directory, backend="torch-cpu", threads=1).classify(sounds)
    found = load_classifier(directory, backend="openvino-bf16", threads=1)
    assert found.backend == "openvino bf16 cpu"
    # AMX rounds what lies between two layers as well, and is further off than AVX-512.
    np.testing.assert_allclose(found.classify(sounds), expected, atol=0.03)


def test_int8_agrees_to_two_hundredths_whoever_shares_the_batch(
    tmp_path: Path, empty: Path
) -> None:
    directory = save(tmp_path, initializer_range=0.02)
    sounds = windows(10)
    expected = load_classifier(directory, backend="torch-cpu", threads=1).classify(sounds)
    found = load_classifier(directory, backend="onnx-int8", threads=1, max_batch=4)
    assert found.backend == "onnxruntime int8 cpu"
    together = found.classify(sounds)
    np.testing.assert_allclose(together, expected, atol=0.02)
    assert np.abs(together - expected).max() > 1e-6, "nothing was rounded"
    alone = np.concatenate([found.classify(sounds[n : n + 1]) for n in range(10)])
    np.testing.assert_array_equal(alone, together)
    # The float graph and the one in int8 are kept; a damaged one is made anew.
    kept = sorted(empty.glob("*"), key=lambda entry: entry.stat().st_size)
    assert len(kept) == 2 and "int8" in kept[0].name
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    again = load_classifier(directory, backend="onnx-int8", threads=1).classify(sounds)
    np.testing.assert_array_equal(again, together)


def test_a_signal_is_survived_after_a_classifier_was_let_go_in_another_thread(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """What OpenVINO does to the stack for signals; see the backend."""
    script = (
        "import gc, os, signal, sys, threading\n"
        "from daemon.model.classifier import load_classifier\n"
        "held = [load_classifier(sys.argv[1], backend='openvino', threads=1)]\n"
        "def let_go():\n"
        "    held.clear()\n"
        "    gc.collect()\n"
        "thread = threading.Thread(target=let_go)\n"
        "thread.start()\n"
        "thread.join()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint("wav2vec2"))],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_processes_share_a_cache(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Two at once convert without harm; a later one needs torch no more."""
    code = (
        "import sys\n"
        "from daemon.model.classifier import load_classifier\n"
        "import numpy as np\n"
        "classifier = load_classifier(sys.argv[1], backend='onnx', threads=1)\n"
        "torch = 'torch' in sys.modules\n"
        "noise = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)\n"
        "print(classifier.logits(0.1 * noise).tolist(), torch)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, str(checkpoint("wav2vec2"))]
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    both = [start(), start()]
    answers = [process.communicate(timeout=120) for process in both]
    answers.append(start().communicate(timeout=120))
    assert [errors for _, errors in answers] == ["", "", ""]
    first, second, third = (output.strip() for output, _ in answers)
    assert first == second
    assert first.endswith("True")
    assert third == first.removesuffix("True") + "False"
    assert [path.suffix for path in (tmp_path / "intentd" / "graphs").iterdir()] == [".graph"]


@pytest.mark.parametrize("damage", [b"", b"junk", b"intentd onnx " + b"0" * 64 + b"\nxyz", None])
def test_a_damaged_entry_is_made_again(
    damage: bytes | None, checkpoint: Checkpoint, empty: Path
) -> None:
    sound = windows(1)
    expected = load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1).logits(sound)
    (entry,) = empty.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-1] + b"?" if damage is None else damage)
    found = load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1).logits(sound)
    np.testing.assert_array_equal(found, expected)
    assert len(entry.read_bytes()) == len(whole)


def test_a_changed_model_or_window_has_a_graph_of_its_own(tmp_path: Path, empty: Path) -> None:
    directory = save(tmp_path / "model")
    load_classifier(directory, backend="onnx", threads=1)
    load_classifier(directory, backend="onnx", threads=1)
    assert len(list(empty.iterdir())) == 1
    load_classifier(directory, backend="onnx", threads=1, window_seconds=0.5)
    assert len(list(empty.iterdir())) == 2
    save(directory, initializer_range=0.1)
    sound = windows(1)
    found = load_classifier(directory, backend="onnx", threads=1).logits(sound)
    expected = load_classifier(directory, backend="torch-cpu", threads=1).logits(sound)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(list(empty.iterdir())) == 3


def test_only_the_last_used_entries_are_kept(
    tmp_path: Path, empty: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "KEPT", 2)
    empty.mkdir()
    for age in (1, 2, 3):
        path = empty / f"old{age}.graph"
        path.touch()
        os.utime(path, (time.time() - 100 * age,) * 2)
    load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1)
    left = sorted(path.name for path in empty.iterdir())
    assert len(left) == 2
    assert "old1.graph" in left


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, empty: Path, checkpoint: Checkpoint
) -> None:
    empty.write_text("a file where the folder should be")
    classifier = load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1)
    assert np.isfinite(classifier.classify(windows(1))).all()


def test_without_the_converter_the_fix_is_named(
    empty: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'intentd\[onnx\]'"):
        load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1)


def test_a_graph_that_differs_is_refused(
    empty: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "TOLERANCE", 1e-12)
    with pytest.raises(UserError, match="differs from torch by"):
        load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1)
    assert not empty.exists()


def test_temperature_stays_outside_the_graph(tmp_path: Path) -> None:
    directory = save(tmp_path)
    write_intentd_key(directory, Calibration(temperature=3.0))
    sounds = windows(2)
    found = load_classifier(directory, backend="onnx", threads=1).classify(sounds)
    expected = load_classifier(directory, backend="torch-cpu", threads=1).classify(sounds)
    np.testing.assert_allclose(found, expected, atol=1e-4)
