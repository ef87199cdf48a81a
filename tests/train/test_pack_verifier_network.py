"""The tool that packs the verifier's network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.making import speechlike

from daemon.model.verifier.filterbank import BANDS, FRAMES, SOUND
from daemon.model.verifier.network import WordEmbedding

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import pack_verifier_network  # type: ignore[import-not-found]


def convolutional(file: Path) -> Path:
    """A convolution over time and bands, its mean over time, as a vector."""
    rng = np.random.default_rng(0)
    # Channels of very different size, which one scale for all would lose.
    weights = rng.standard_normal((16, 1, 9, BANDS)) * 10 ** rng.uniform(-2, 0, (16, 1, 1, 1))
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["frames"]),
            helper.make_node("Relu", ["frames"], ["active"]),
            helper.make_node("GlobalAveragePool", ["active"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["vector"]),
        ],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, FRAMES, BANDS])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 16])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(file))
    return file


def test_the_packed_network_gives_the_same_vectors(tmp_path: Path) -> None:
    whole, packed = convolutional(tmp_path / "whole.onnx"), tmp_path / "packed.onnx"
    pack_verifier_network.pack(whole, packed)
    assert packed.stat().st_size < 0.4 * whole.stat().st_size
    sounds = np.stack([speechlike(2.0, seed=seed)[:SOUND] for seed in range(4)])
    before, after = (WordEmbedding(file).vectors(sounds) for file in (whole, packed))
    assert (before * after).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-3)
    assert np.abs(before - after).max() > 0
    assert (before @ before.T)[np.triu_indices(4, 1)].min() < 0.999
    unpacked = WordEmbedding(packed, unpacked=True).vectors(sounds)
    assert np.allclose(unpacked, after, atol=1e-6)
