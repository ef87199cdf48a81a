"""The weights of an ONNX file, read without a runtime.

An ONNX file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/): a ModelProto
whose field 7 is a GraphProto, whose fields 5 are TensorProtos (onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_FLOAT = 1
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 initialisers of the graph by name. Raises OSError, or ValueError if the file is
    no such thing."""
    found: dict[str, NDArray[np.float32]] = {}
    try:
        for graph in _parts(path.read_bytes(), _GRAPH):
            for tensor in _parts(graph, _INITIALIZER):
                name, values = _tensor(tensor)
                if values is not None:
                    found[name] = values
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no ONNX file") from error
    return found


def _tensor(data: bytes) -> tuple[str, NDArray[np.float32] | None]:
    shape: list[int] = []
    name, kind, raw = "", 0, b""
    for field, value in _fields(data):
        if field == _DIMS:
            shape += [value] if isinstance(value, int) else list(_varints(value))
        elif field == _TYPE and isinstance(value, int):
            kind = value
        elif field == _NAME and isinstance(value, bytes):
            name = value.decode()
        elif field == _RAW and isinstance(value, bytes):
            raw = value
    if kind != _FLOAT or not raw:
        return name, None
    return name, np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)


def _parts(data: bytes, wanted: int) -> Iterator[bytes]:
    for field, value in _fields(data):
        if field == wanted and isinstance(value, bytes):
            yield value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number and value; those of fixed width as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_I64, _I32):
            length = 8 if kind == _I64 else 4
        else:
            raise ValueError(f"a protocol buffer has no wire type {kind}")
        if at + length > len(data):
            raise ValueError("a protocol buffer is cut short")
        yield key >> 3, data[at : at + length]
        at += length


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
