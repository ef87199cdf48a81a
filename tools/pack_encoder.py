#!/usr/bin/env python3
"""Packs a finished `pretrain` run as the encoder that ships.

In half precision and without head.

    python tools/pack_encoder.py runs/pretrain train/encoders/words

The weights are rounded to float16; transformers reads them as float32, as the configuration says.
The run's card is not copied: the shipped one has more to say.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import safetensors.torch
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2Model

METADATA = {"format": "pt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if not (options.run / "metrics.json").is_file():
        parser.error(f"{options.run} is no finished run of a recipe")
    pack(options.run, options.folder)


def pack(run: Path, folder: Path) -> None:
    """Write the encoder of `run` to `folder`."""
    model = Wav2Vec2Model.from_pretrained(run)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    AutoFeatureExtractor.from_pretrained(run).save_pretrained(folder)
    weights = {
        name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()
    }
    safetensors.torch.save_file(weights, folder / "model.safetensors", METADATA)
    (folder / "model.safetensors").chmod(0o644)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Labels, thresholds and masking are those of the model that the run began from.
    for key in ("intentd", "id2label", "label2id"):
        config.pop(key, None)
    config |= {"dtype": "float32", "architectures": ["Wav2Vec2Model"]}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
