"""A small network with the interface of EfficientWord-Net's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from daemon.model.verifier.filterbank import BANDS, FRAMES

WIDTH = 24


def small_word_teacher(file: Path, seed: int = 0) -> Path:
    """Random projection of a coarse filterbank picture to unit vectors."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    pooled = (FRAMES // 24) * (BANDS // 4)
    matrix = rng.standard_normal((pooled, WIDTH)).astype(np.float32)
    # Of zero mean over the bands, so that level does not count, as in the real one.
    matrix -= matrix.mean(axis=0)
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["input"], ["pooled"], kernel_shape=[24, 4], strides=[24, 4]
            ),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["projected"]),
            helper.make_node("LpNormalization", ["projected"], ["feature_output"], axis=1, p=2),
        ],
        "teacher",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, FRAMES, BANDS])],
        [helper.make_tensor_value_info("feature_output", TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return file
