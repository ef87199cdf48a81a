"""Backends by name; torch's device, precision and threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.model_checkpoints import save, windows

from daemon.base.errors import UserError
from daemon.model.backends.torch_backend import find_device, recorded
from daemon.model.classifier import load_classifier
from daemon.model.network import Scores, build_network
from daemon.model.weights import find_weights

Checkpoint = Callable[[str], Path]


def test_an_unknown_backend_is_named_with_those_there_are(checkpoint: Checkpoint) -> None:
    with pytest.raises(UserError, match=r"no backend 'tensorflow'.*auto, torch"):
        load_classifier(checkpoint("wav2vec2"), backend="tensorflow")


def test_names_say_precision_and_device(checkpoint: Checkpoint) -> None:
    directory = checkpoint("wav2vec2")
    assert load_classifier(directory, backend="torch-cpu", threads=1).backend == "torch fp32 cpu"
    assert load_classifier(directory, backend="torch-bf16", threads=1).backend == "torch bf16 cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UserError, match="there is no cuda device"):
        find_device("cuda")


def test_threads_are_those_asked_for(checkpoint: Checkpoint) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            load_classifier(checkpoint("wav2vec2"), backend="torch-cpu", threads=threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks GNU's OpenMP")
@pytest.mark.parametrize(
    ("own", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_threads_sleep_while_they_wait(
    checkpoint: Checkpoint, own: dict[str, str], expected: str
) -> None:
    code = (
        "import sys\n"
        "from daemon.model.classifier import load_classifier\n"
        "load_classifier(sys.argv[1], backend='torch-cpu', threads=2)"
    )
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint("wav2vec2"))],
        capture_output=True,
        text=True,
        check=True,
        env=clean | {"OMP_DISPLAY_ENV": "TRUE"} | own,
    )
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr


def test_a_small_network_runs_without_python_and_says_the_same(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), backend="torch-cpu", threads=1)
    found = classifier._backend._network  # type: ignore[attr-defined]
    assert isinstance(found, torch.jit.ScriptModule)
    network = Scores(build_network(classifier.info, find_weights(classifier.info))).eval()
    with torch.inference_mode():
        for count in (1, 2, 5, 16):
            batch = 0.1 * torch.randn(count, classifier.window)
            torch.testing.assert_close(found(batch), network(batch), rtol=1e-5, atol=1e-6)


def test_what_depends_on_how_many_there_are_is_not_recorded() -> None:
    class Odd(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch * float(len(batch))

    class Even(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch * 2 if bool(batch.sum() > 0) else batch

    some = [torch.ones(2, 3), torch.ones(1, 3), -torch.ones(3, 3)]
    for network in (Odd().eval(), Even().eval()):
        assert recorded(network, some) is network
    assert isinstance(recorded(torch.nn.Linear(3, 2).eval(), some), torch.jit.ScriptModule)


def test_weight_norm_is_folded_and_gradients_are_off(checkpoint: Checkpoint) -> None:
    classifier = load_classifier(checkpoint("wav2vec2"), backend="torch-cpu", threads=1)
    network = classifier._backend._network  # type: ignore[attr-defined]
    names = [name for name, _ in network.named_parameters()]
    assert "network.wav2vec2.encoder.pos_conv_embed.conv.weight" in names
    assert not any("parametrizations" in name for name in names)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_bf16_agrees_to_three_hundredths(tmp_path: Path) -> None:
    """Probabilities of bf16 lie within 0.03 of float32's.

    Random weights of ordinary size. AMX rounds what lies between two layers as well, and is
    further off than AVX-512.
    """
    directory = save(tmp_path, initializer_range=0.02)
    sounds = windows(20)
    exact = load_classifier(directory, backend="torch-cpu", threads=1).classify(sounds)
    rough = load_classifier(directory, backend="torch-bf16", threads=1).classify(sounds)
    difference = np.abs(exact - rough).max()
    assert 0 < difference < 0.03


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for signal stacks")
def test_openvino_leaves_room_for_several_signals_at_once() -> None:
    """Two signals at once, SIGTERM and SIGCONT, as systemd sends them.

    With AMX each takes 12 kB of stack.
    """
    pytest.importorskip("openvino")
    code = """
import signal, threading, torch
from daemon.model.backends.openvino_backend import core

assert core().available_devices
with torch.inference_mode():  # by AMX, where there is any: the frames of signals hold its state
    torch.nn.Linear(512, 512).bfloat16()(torch.ones(512, 512, dtype=torch.bfloat16))
numbers = (signal.SIGTERM, signal.SIGCONT, signal.SIGHUP, signal.SIGUSR1)
came = []
for number in numbers:
    signal.signal(number, lambda number, _: came.append(number))
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
for number in numbers:
    signal.pthread_kill(threading.get_ident(), number)
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
print(len(came))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr
