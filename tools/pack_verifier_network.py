#!/usr/bin/env python3
"""Packs EfficientWord-Net's network (88 MB) to the one that ships (22 MB).

From float32.

    python tools/pack_verifier_network.py daemon/bundled/word_embedding/network.onnx [FILE.onnx]

The weights of the convolutions are rounded to int8 with a scale for each output channel and made
float32 again when the file is loaded; all sums stay in float32, so that results differ neither
between processors nor with the other sounds of a batch. By default FILE is that of the package
efficientword-net.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from train.distillation.word_embedding import NAME, weights_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("network", type=Path, nargs="?")
    options = parser.parse_args()
    pack(options.network or weights_of(NAME), options.output)


def pack(network: Path, output: Path) -> None:
    """Write `network` with int8 weights to `output`."""
    model = onnx.load(str(network))
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in held:
            continue
        name = node.input[1]
        tensor = held.pop(name)
        weights = numpy_helper.to_array(tensor)
        largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
        scale = np.maximum(largest / 127, 1e-12).astype(np.float32)
        shape = (-1,) + (1,) * (weights.ndim - 1)
        rounded = np.clip(np.rint(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            [
                numpy_helper.from_array(rounded, f"{name}_int8"),
                numpy_helper.from_array(scale, f"{name}_scale"),
            ]
        )
        inputs = [f"{name}_int8", f"{name}_scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    onnx.checker.check_model(model)
    output.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(output))


if __name__ == "__main__":
    main()
