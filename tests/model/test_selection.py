"""The choice of "auto": measured, checked against float32, remembered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_checkpoints import save, windows

from daemon.base.errors import UserError
from daemon.model.backends import Job, choices, open_backend, selection, table
from daemon.model.backends.base import Backend
from daemon.model.backends.choices import Choice, Trial
from daemon.model.backends.selection import choose, time_all
from daemon.model.classifier import load_classifier
from daemon.model.description.info import Calibration, read_model_info, write_intentd_key
from daemon.model.features import Waveform
from daemon.model.weights import find_weights

Checkpoint = Callable[[str], Path]
BATCH = 4


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of choices of the test's own."""
    monkeypatch.setattr(choices, "cache_directory", lambda: tmp_path / "choices")
    return tmp_path / "choices"


def job_of(directory: Path, threads: int = 1) -> Job:
    info = read_model_info(directory)
    return Job(info, find_weights(info), 16_000, threads)


def chosen(job: Job, open_: Callable[[str], Backend] | None = None) -> tuple[Backend, Choice]:
    features = Waveform(job.info.extractor.normalize)
    return choose(job, features, BATCH, open_ or (lambda name: open_backend(name, job)))


class Altered:
    """A real backend whose results, and pace, are changed."""

    def __init__(
        self,
        backend: Backend,
        offset: float = 0.0,
        company: float = 0.0,
        calls: list[int] | None = None,
    ) -> None:
        self.name = backend.name
        self._backend = backend
        self._offset, self._company = offset, company
        self._calls = calls

    def run(self, inputs: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
        if self._calls is not None:
            self._calls.append(len(inputs))
        logits = self._backend.run(inputs).copy()
        logits[:, 0] += self._offset + self._company * (len(inputs) > 1)
        return logits


def opener(job: Job, **altered: dict[str, Any]) -> Callable[[str], Backend]:
    def open_(name: str) -> Backend:
        backend = open_backend(name, job)
        changes = altered.get(name.replace("-", "_"))
        return backend if changes is None else Altered(backend, **changes)

    return open_


# ---- timing -------------------------------------------------------------------------------------


class Paced:
    """Runs that take a set time of a clock that only they move."""

    def __init__(self, **seconds: tuple[float, float]) -> None:
        """Name to (fixed seconds, seconds a window)."""
        self.now = 0.0
        self.order: list[tuple[str, int]] = []
        self.runs = {name: self._run(name, *costs) for name, costs in seconds.items()}

    def _run(self, name: str, fixed: float, each: float) -> Callable[[int], None]:
        def run(count: int) -> None:
            self.order.append((name, count))
            self.now += fixed + each * count

        return run

    def clock(self) -> float:
        return self.now


def test_times_are_a_window_s_and_taken_in_turns() -> None:
    paced = Paced(a=(0.004, 0.002), b=(0.001, 0.003))
    times = time_all(paced.runs, 16, paced.clock)
    assert times["a"] == pytest.approx((0.006, 0.00225))
    assert times["b"] == pytest.approx((0.004, 0.0030625))
    assert paced.order[:8] == [(n, s) for n in "abba" for s in (1, 16)]


def test_one_disturbance_does_not_count() -> None:
    paced = Paced(a=(0.0, 0.002), b=(0.0, 0.003))
    disturbed = dict(paced.runs)

    def run(count: int) -> None:
        if sum(name == "a" for name, _ in paced.order) in (0, 5):
            paced.now += 0.05
        paced.runs["a"](count)

    disturbed["a"] = run
    assert time_all(disturbed, 8, paced.clock)["a"] == pytest.approx((0.002, 0.002))


def test_the_slow_are_soon_timed_no_more_and_time_is_bounded() -> None:
    paced = Paced(fast=(0.0, 0.001), near=(0.0, 0.0012), slow=(0.0, 0.01))
    time_all(paced.runs, 16, paced.clock)
    count = {name: sum(n == name for n, _ in paced.order) // 2 for name in paced.runs}
    assert count == {"fast": selection.ROUNDS, "near": selection.ROUNDS, "slow": 2}
    huge = Paced(fast=(0.0, 0.2), near=(0.0, 0.21))
    time_all(huge.runs, 16, huge.clock)
    assert len(huge.order) == 4


def test_a_machine_that_is_busy_all_the_time_does_not_count_either() -> None:
    paced = Paced(fast=(0.0, 0.001), slow=(0.0, 0.002))
    elsewhere = 0.0

    def interrupted(count: int) -> None:
        nonlocal elsewhere
        paced.runs["fast"](count)
        paced.now += 5.0
        elsewhere += 5.0

    runs = {**paced.runs, "fast": interrupted}
    times = time_all(runs, 16, paced.clock, lambda: paced.now - elsewhere)
    assert times == {"fast": pytest.approx((0.001,) * 2), "slow": pytest.approx((0.002,) * 2)}


# ---- the choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bf16", [False, True])
def test_the_fastest_that_agrees_is_kept_and_repeated(
    bf16: bool, checkpoint: Checkpoint, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "has_fast_bf16", lambda: bf16)
    job = job_of(checkpoint("wav2vec2"))
    calls: list[int] = []
    whole = ["torch-cpu", "onnx", "openvino"]
    tried = ["torch-cpu", "torch-bf16", "onnx", "openvino", "openvino-bf16"] if bf16 else whole
    every = {name.replace("-", "_"): {"calls": calls} for name in tried}
    backend, choice = chosen(job, opener(job, **every))
    names = [trial.backend for trial in choice.trials]
    assert [name for name in names if name != "torch"] == tried, "torch: on an accelerator"
    fit = [trial for trial in choice.trials if not trial.refused]
    assert not choice.remembered and {*whole} <= {trial.backend for trial in fit}
    costs = {t.backend: (t.alone_ms or 0) * (t.together_ms or 0) for t in fit}
    assert choice.backend == min(costs, key=costs.__getitem__)
    assert {1, BATCH} <= set(calls)
    calls.clear()
    again, repeated = chosen(job, opener(job, **every))
    assert calls == [], "nothing is measured a second time"
    assert repeated.remembered and again.name == backend.name
    assert (repeated.backend, repeated.trials) == (choice.backend, choice.trials)
    assert "measured by an earlier run" in repeated.text() and choice.backend in repeated.text()


def test_what_was_remembered_is_followed(checkpoint: Checkpoint, empty: Path) -> None:
    job = job_of(checkpoint("wav2vec2"))
    chosen(job)
    (entry,) = empty.iterdir()
    table = json.loads(entry.read_text())
    for name, runtime in (("openvino", "openvino fp32 cpu"), ("torch-cpu", "torch fp32 cpu")):
        entry.write_text(json.dumps(table | {"backend": name}))
        assert chosen(job)[0].name == runtime


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"backend": 3, "why": "", "batch": 1, "trials": []}',
        b'{"backend": "onnx", "why": "", "batch": 1, "trials": [{"speed": 3}]}',
        b'{"backend": "steam", "why": "", "batch": 1, "trials": []}',
    ],
)
def test_a_damaged_entry_is_measured_again(
    damage: bytes, checkpoint: Checkpoint, empty: Path
) -> None:
    job = job_of(checkpoint("wav2vec2"))
    entry = choices.entry(selection._circumstances(job, BATCH, table.candidates(job)))
    entry.parent.mkdir()
    entry.write_bytes(damage)
    assert not chosen(job)[1].remembered
    assert chosen(job)[1].remembered


def test_scores_that_differ_are_passed_over(checkpoint: Checkpoint, empty: Path) -> None:
    job = job_of(checkpoint("wav2vec2"))
    far = opener(job, onnx={"offset": 0.5}, openvino={"offset": 1e-5})
    trials = {trial.backend: trial for trial in chosen(job, far)[1].trials}
    assert "differ from float32" in trials["onnx"].refused
    assert (trials["onnx"].difference or 0) > selection.TOLERANCE
    assert trials["onnx"].alone_ms is None
    assert not trials["openvino"].refused


def test_scores_that_depend_on_company_are_passed_over(checkpoint: Checkpoint, empty: Path) -> None:
    job = job_of(checkpoint("wav2vec2"))
    swayed = opener(job, onnx={"company": 0.05})
    trials = {trial.backend: trial for trial in chosen(job, swayed)[1].trials}
    assert "what shares a batch" in trials["onnx"].refused
    assert selection.BATCH_TOLERANCE < (trials["onnx"].difference or 0) <= selection.TOLERANCE


def test_a_backend_that_fails_is_no_reason_to_stop(checkpoint: Checkpoint, empty: Path) -> None:
    job = job_of(checkpoint("wav2vec2"))

    def open_(name: str) -> Backend:
        if name == "onnx":
            raise RuntimeError("no such kernel\nat line 3")
        if name == "openvino":
            return Altered(open_backend(name, job), offset=float("nan"))
        return open_backend(name, job)

    choice = chosen(job, open_)[1]
    assert choice.backend.startswith("torch")
    refused = {trial.backend: trial.refused for trial in choice.trials}
    assert refused["onnx"] == "it fails (RuntimeError: no such kernel)"
    assert "differ" in refused["openvino"]


def test_a_remembered_backend_that_has_gone_is_measured_again(
    checkpoint: Checkpoint, empty: Path
) -> None:
    job = job_of(checkpoint("wav2vec2"))
    chosen(job)
    (entry,) = empty.iterdir()
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"backend": "onnx"}))

    def open_(name: str) -> Backend:
        if name == "onnx":
            raise UserError("its package is damaged")
        return open_backend(name, job)

    choice = chosen(job, open_)[1]
    assert not choice.remembered and choice.backend != "onnx"


def test_the_first_to_remember_wins(empty: Path) -> None:
    entry = choices.entry(("a case",))
    mine = Choice("onnx", "the fastest", 4, (Trial("onnx", 1.0, 1.0, 0.0),))
    theirs = Choice("openvino", "the fastest", 4, (Trial("openvino", 1.0, 1.0, 0.0),))
    assert choices.remember(entry, theirs) == theirs
    assert choices.remember(entry, mine).backend == "openvino"
    assert choices.recall(entry) == choices.remember(entry, mine)
    assert len(list(empty.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_done_without(
    checkpoint: Checkpoint, empty: Path
) -> None:
    empty.write_text("a file where the folder should be")
    job = job_of(checkpoint("wav2vec2"))
    assert np.isfinite(chosen(job)[0].run(windows(1))).all()


def test_threads_model_and_batch_have_choices_of_their_own(tmp_path: Path, empty: Path) -> None:
    directory = save(tmp_path / "model")
    job = job_of(directory)

    def entry(job: Job, batch: int = BATCH) -> Path:
        return choices.entry(selection._circumstances(job, batch, ["torch-cpu"]))

    first = entry(job)
    assert entry(job_of(directory, threads=2)) != first
    assert entry(job, batch=8) != first
    save(directory, initializer_range=0.1)
    assert entry(job_of(directory)) != first
    save(directory)
    assert entry(job_of(directory)) == first
    if hasattr(os, "sched_setaffinity") and len(before := os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {min(before)})
        try:
            assert entry(job) != first
        finally:
            os.sched_setaffinity(0, before)


def test_thresholds_change_neither_graph_nor_choice(tmp_path: Path, empty: Path) -> None:
    directory = save(tmp_path / "model")
    before = selection._circumstances(job_of(directory), BATCH, ["torch-cpu"])
    write_intentd_key(directory, Calibration(thresholds={"up": 0.9}))
    assert selection._circumstances(job_of(directory), BATCH, ["torch-cpu"]) == before


def test_a_later_process_repeats_the_choice_without_torch(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """And openvino's statistics are never sent for."""
    code = (
        "import sys\n"
        "from daemon.model.classifier import load_classifier\n"
        "import numpy as np\n"
        "classifier = load_classifier(sys.argv[1], threads=1, backend=sys.argv[2])\n"
        "noise = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)\n"
        "watched = ('torch', 'openvino_telemetry')\n"
        "print(classifier.backend, classifier.logits(0.1 * noise).tolist())\n"
        "print([name for name in watched if name in sys.modules])"
    )

    def heard(backend: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(checkpoint("wav2vec2")), backend],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    first, second = heard("auto"), heard("auto")
    assert "fastest of" in first[0] and first[0] == second[0]
    assert first[1] == "['torch']"
    assert second[1] == ("['torch']" if second[0].startswith("torch") else "[]")
    assert heard("openvino")[1] == "[]"


def test_the_name_tells_that_it_was_chosen(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), threads=1)
    assert classifier.choice is not None
    assert classifier.backend.endswith(f", fastest of {len(classifier.choice.trials)}")
    assert load_classifier(checkpoint("wav2vec2"), backend="onnx", threads=1).choice is None
