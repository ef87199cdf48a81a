"""Check of a safetensors header before its tensors are mapped into memory.

The format: eight bytes, the little-endian length of a JSON header, the header, the tensors' bytes
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.model.description.architecture import MAX_WEIGHT_BYTES
from daemon.model.description.files import WEIGHTS, inside
from daemon.model.description.info import ModelInfo

MAX_HEADER_BYTES = 16 << 20
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
_PICKLES = ("pytorch_model.bin", "pytorch_model.pt", "model.pt", "model.pth", "model.bin")


def find_weights(info: ModelInfo) -> Path:
    """The model's safetensors file, complete and of the expected size.

    That is the size that config.json describes.

    Raises:
        UserError: it is absent (pickles and shards are not read), damaged, or smaller than what the
            config describes and would allocate.
    """
    path = inside(info.directory, WEIGHTS)
    if path is None:
        raise UserError(_absent(info.directory))
    held = _parameters(path)
    described = info.architecture.parameters
    if described > 2 * held + 1_000_000:
        raise UserError(
            f"{path} holds {held / 1e6:.2f} million weights and the config.json beside it "
            f"describes a network of {described / 1e6:.2f} million; fetch or save the model again"
        )
    return path


def damaged(path: Path, why: object) -> UserError:
    return UserError(f"{path} is damaged ({why}); fetch or save the model again")


def _absent(directory: Path) -> str:
    if (directory / f"{WEIGHTS}.index.json").exists():
        return (
            f"{directory} has its weights in several files, which intentd does not read; "
            'save the model with max_shard_size="5GB"'
        )
    for name in _PICKLES:
        if (directory / name).exists():
            return (
                f"{directory} has its weights in {name}, a pickle, which can run code and is "
                f"never loaded; save the model as safetensors ({WEIGHTS})"
            )
    return f"{directory} has no weights, there is no {WEIGHTS}; fetch or save the model again"


def _parameters(path: Path) -> int:
    size = path.stat().st_size
    if size > MAX_WEIGHT_BYTES + MAX_HEADER_BYTES:
        raise UserError(
            f"{path} has {size / 2**30:.1f} GB; intentd loads at most "
            f"{MAX_WEIGHT_BYTES / 2**30:.0f} GB of weights, so use a smaller model"
        )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise damaged(path, "it has no header")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        counts = [_elements(tensor, size - 8 - length) for tensor in tensors.values()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise damaged(path, "its header makes no sense or it is cut short") from None
    return sum(counts)


def _elements(tensor: dict[str, Any], room: int) -> int:
    begin, end = tensor["data_offsets"]
    count = int(math.prod(tensor["shape"]))
    if not 0 <= begin <= end <= room or count * _WIDTHS[tensor["dtype"]] != end - begin:
        raise ValueError
    return count
