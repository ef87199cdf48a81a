"""Hostile model directories: loaded and, where that works, run."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.mutators import NASTY_TEXT, mutate_bytes, mutate_tree, nasty_value
from fuzz.screen import check_messages, check_sentence

from daemon.base.errors import UserError
from daemon.messages import Event, Prediction, Summary, Verdict
from daemon.model.classifier import load_classifier
from daemon.model.description.info import read_model_info

CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"


class Booby:
    """What a pickle must never get to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/intentd-fuzz-was-here",)


class ModelCases:
    """Makes and runs the cases; `base` is a model that works."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._files = {name: (base / name).read_bytes() for name in (CONFIG, WEIGHTS, PREPROCESSOR)}
        self._config = json.loads(self._files[CONFIG])
        self._preprocessor = json.loads(self._files[PREPROCESSOR])
        sound = np.random.default_rng(0).standard_normal((1, 16000))
        self._window = (0.1 * sound).astype(np.float32)
        classifier = load_classifier(base, backend="torch", threads=1)
        assert classifier.classify(self._window).shape == (1, 4)

    def run(self, rng: random.Random, folder: Path) -> str:
        """One case; "used" or "refused"."""
        model = folder / rng.choice(("model", "m\x1b[31m", "[red]", "two\nlines"))
        model.mkdir()
        for name, content in self._files.items():
            (model / name).write_bytes(content)
        self._spoil(rng, model, folder)
        try:
            info = read_model_info(model)
            if rng.random() < 0.5:
                info.settings()
            # The weights cost most of the time; they are read for those that get that far.
            classifier = load_classifier(model, backend="torch", threads=1, max_batch=2)
            if classifier.window > 32_000:
                return "used"
            scores = classifier.classify(np.resize(self._window, (1, classifier.window)))
        except UserError as error:
            check_sentence(str(error))
            assert error.status in (1, 2)
            return "refused"
        assert np.isfinite(scores).all()
        labels = classifier.labels
        row = scores[0]
        check_messages(
            labels,
            [
                Prediction("mic", 0.0, 1.0, False, row, row, 1.0),
                *(Event("mic", label, 0.0, 1.0, 0.5, 1.0) for label in labels[:4]),
                Summary("mic", 1.0, 1, 0, 1, (Verdict(labels[0], 0.5),), 1, 1, 0, 0, 1.0, 1.0),
            ],
        )
        return "used"

    def _spoil(self, rng: random.Random, model: Path, folder: Path) -> None:
        match rng.randrange(12):
            case 0 | 1:
                self._write(model / CONFIG, mutate_tree(rng, self._config))
            case 2 | 3:
                key = rng.choice([k for k in self._config if k != "intentd"])
                self._write(model / CONFIG, self._config | {key: nasty_value(rng)})
            case 4:
                key = rng.choice(sorted(self._config["intentd"]))
                told = self._config["intentd"]
                told = rng.choice((told | {key: nasty_value(rng)}, mutate_tree(rng, told)))
                self._write(model / CONFIG, self._config | {"intentd": told})
            case 5:
                labels = {
                    str(i): rng.choice(NASTY_TEXT) for i in range(rng.choice((3, 4, 4, 4, 5)))
                }
                if rng.random() < 0.6:
                    labels = {k: f"{i}{v[:200]}" for i, (k, v) in enumerate(labels.items())}
                self._write(model / CONFIG, self._config | {"id2label": labels, "label2id": {}})
            case 6:
                self._write(model / PREPROCESSOR, mutate_tree(rng, self._preprocessor))
            case 7:
                name = rng.choice((CONFIG, PREPROCESSOR, WEIGHTS))
                (model / name).write_bytes(mutate_bytes(rng, self._files[name]))
            case 8:
                (model / WEIGHTS).write_bytes(self._lying_weights(rng))
            case 9:
                self._poison(rng, model / WEIGHTS)
            case 10:
                self._links(rng, model, folder)
            case _:
                self._pickles(rng, model)

    def _write(self, path: Path, tree: Any) -> None:
        try:
            path.write_text(json.dumps(tree))
        except ValueError:  # an integer of more digits than Python prints
            path.write_text('{"hidden_size": ' + "9" * 5000 + "}")

    def _lying_weights(self, rng: random.Random) -> bytes:
        raw = self._files[WEIGHTS]
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + length])
        if rng.random() < 0.3:
            size = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1, length - 1, length + 1))
            return struct.pack("<Q", size) + raw[8:]
        encoded = json.dumps(mutate_tree(rng, header), default=str).encode()
        return struct.pack("<Q", len(encoded)) + encoded + raw[8 + length :]

    def _poison(self, rng: random.Random, path: Path) -> None:
        raw = self._files[WEIGHTS]
        length = struct.unpack("<Q", raw[:8])[0]
        body = np.frombuffer(raw[8 + length :], "<f4").copy()
        at = rng.randrange(len(body))
        body[at : at + rng.choice((1, 50, len(body)))] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
        path.write_bytes(raw[: 8 + length] + body.tobytes())

    def _links(self, rng: random.Random, model: Path, folder: Path) -> None:
        path = model / rng.choice((CONFIG, PREPROCESSOR, WEIGHTS))
        path.unlink()
        outside = folder / "outside"
        outside.write_bytes(self._files[path.name])
        match rng.randrange(6):
            case 0:
                path.symlink_to(outside)
            case 1:
                path.symlink_to(
                    rng.choice(("/dev/zero", "/etc/passwd", "/proc/self/mem", "/nowhere"))
                )
            case 2:
                path.symlink_to(path)
            case 3:
                os.mkfifo(path)
            case 4:
                path.mkdir()
            case _:
                with path.open("wb") as file:
                    file.truncate(rng.choice((1 << 20, 50 << 30)))

    def _pickles(self, rng: random.Random, model: Path) -> None:
        names = (
            "pytorch_model.bin",
            "training_args.bin",
            "model.pt",
            "optimizer.pt",
            WEIGHTS,
            CONFIG,
        )
        (model / rng.choice(names)).write_bytes(pickle.dumps(Booby()))
        if rng.random() < 0.5:
            (model / WEIGHTS).unlink(missing_ok=True)
        if rng.random() < 0.5:
            (model / "modeling_evil.py").write_text(
                "import os; os.system('touch /tmp/intentd-evil')"
            )
            auto = {"AutoConfig": "modeling_evil.C", "AutoModelForAudioClassification": "evil.M"}
            self._write(model / CONFIG, self._config | {"auto_map": auto})
        if rng.random() < 0.1:
            shutil.rmtree(model)
