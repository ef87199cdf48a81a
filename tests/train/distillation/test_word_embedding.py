"""EfficientWord-Net as a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.word_teacher import WIDTH, small_word_teacher

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.model.verifier.filterbank import FLOOR, LEVEL, SOUND
from train.distillation import word_embedding as we


def voice(seed: int, length: int = SOUND) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    tone = np.sin(2 * np.pi * rng.uniform(100, 3000) * time * (1 + 0.2 * time))
    return (0.1 * tone + 0.01 * rng.standard_normal(length)).astype(np.float32)


def test_vectors_have_length_one_and_do_not_depend_on_their_neighbours(
    word_teacher: Path,
) -> None:
    teacher = we.open_teacher(str(word_teacher), 1)
    windows = np.stack([voice(n) for n in range(5)])
    vectors = teacher.vectors(windows)
    assert vectors.shape == (5, WIDTH) == (5, teacher.width)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(teacher.vectors(windows[3:4])[0], vectors[3], atol=1e-5)
    assert (vectors @ vectors.T)[np.triu_indices(5, 1)].max() < 0.999


def test_both_runtimes_give_the_same(word_teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    windows = np.stack([voice(n) for n in range(3)])
    fast = we.WordEmbedding(word_teacher, 1)

    def missing(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(we, "_openvino", missing)
    plain = we.WordEmbedding(word_teacher, 1)
    assert (fast.runtime, plain.runtime) == ("openvino", "onnxruntime")
    cosine = (fast.vectors(windows) * plain.vectors(windows)).sum(axis=1)
    assert cosine.min() > 0.999


def test_a_window_is_filled_with_a_low_noise_and_at_one_level() -> None:
    sound = voice(2, 8_000)
    loud, quiet = (
        we.windows_around(np.float32(gain) * sound, [4_000, -9_000]) for gain in (1.0, 0.05)
    )
    assert loud.shape == (2, SOUND)
    np.testing.assert_allclose(loud, quiet, atol=1e-5)
    middle = slice(SOUND // 2 - 4_000, SOUND // 2 + 4_000)
    scaled = sound * LEVEL / np.sqrt(np.mean(sound**2))
    assert np.abs(loud[0, middle] - scaled).max() < 6 * FLOOR
    floor = loud[0, : middle.start]
    assert np.sqrt(np.mean(floor**2)) == pytest.approx(FLOOR, rel=0.05)
    # Centred 9,000 samples before the recording: its first 3,000 are the window's last.
    assert np.abs(loud[1, -3_000:] - scaled[:3_000]).max() < 6 * FLOOR
    assert np.sqrt(np.mean(loud[1, :-3_000] ** 2)) == pytest.approx(FLOOR, rel=0.05)


def test_another_network_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    sound = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 16000])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 16000])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["out"])], "other", [sound], [out]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(UserError, match="149 frames"):
        we.open_teacher(str(tmp_path / "other.onnx"), 1)


def test_a_small_teacher_is_another_one_with_another_seed(tmp_path: Path) -> None:
    one, two = (
        we.open_teacher(str(small_word_teacher(tmp_path / f"{seed}.onnx", seed)), 1)
        for seed in (0, 1)
    )
    assert one.digest != two.digest
