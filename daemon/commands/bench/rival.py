"""openWakeWord as a subject, where it is installed."""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from daemon.base.audio import RATE
from daemon.base.errors import UserError

Figures = dict[str, Any]

FRAME = 1280
"""Samples at 16 kHz that openWakeWord takes at once, 80 ms."""
WORD = "hey_mycroft_v0.1.onnx"


def rival() -> tuple[Any, Figures]:
    """openWakeWord with a model of its package, on ONNX Runtime's one thread.

    Its settings are left as they are.

    Raises: UserError where it is not installed, or carries no models.
    """
    try:
        import openwakeword
        from openwakeword.model import Model
    except ImportError as error:
        raise UserError(
            f"openWakeWord is not compared ({error}); its version 0.5.1 carries its models: "
            "pip install --no-deps openwakeword==0.5.1 and "
            "pip install scikit-learn tqdm cloudpickle"
        ) from None
    word = Path(str(files(openwakeword))) / "resources" / "models" / WORD
    if not word.is_file():
        raise UserError(
            "openWakeWord is not compared, it has no models here; version 0.5.1 carries them: "
            "pip install --no-deps openwakeword==0.5.1"
        )
    model = Model(wakeword_models=[str(word)], inference_framework="onnx")

    def listen(order: Figures) -> Figures:
        """The `file`, 16 kHz mono, frame by frame."""
        sound = soundfile.read(order["file"], dtype="int16")[0]
        frames = np.array_split(sound, range(FRAME, len(sound), FRAME))
        cpu = time.process_time()
        for frame in frames:
            if len(frame) == FRAME:
                model.predict(frame)
        return {"cpu_seconds": time.process_time() - cpu, "sound_seconds": len(sound) / RATE}

    return listen, {"name": f"openWakeWord {WORD.partition('_v')[0]}"}
