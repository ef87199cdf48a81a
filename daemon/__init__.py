"""intentd: classifies live speech into intents, on the same machine.

import daemon

model = daemon.load_model()
for message in model.replay("meeting.wav"):
    if isinstance(message, daemon.Event):
        print(f"{message.start:.2f} s  {message.intent}  {message.score:.2f}")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.api import (
        Event,
        Gap,
        Message,
        Model,
        Prediction,
        Run,
        Status,
        Summary,
        UserError,
        Verdict,
        load_model,
    )

__all__ = [
    "Event",
    "Gap",
    "Message",
    "Model",
    "Prediction",
    "Run",
    "Status",
    "Summary",
    "UserError",
    "Verdict",
    "__version__",
    "load_model",
]
__version__ = "0.1.0"

# Libraries that report on their use by themselves read these when they are imported, and every
# part of intentd imports this first. Who has set one has decided already.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: an identifier in the cache, events to Microsoft
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub: what is installed, told with each request
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets: a count of uses, also of files on this machine
}.items():
    os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    """Import public names when first used; the command line needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("daemon.api"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
