"""intentd: classifies live speech into intents on the machine it is spoken to."""

import os

__version__ = "0.1.0"

# Libraries that report on their use by themselves read these when they are imported, and every
# part of intentd imports this first. Who has set one has decided already.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: an identifier in the cache, events to Microsoft
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub: what is installed, told with each request
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets: a count of uses, also of files on this machine
}.items():
    os.environ.setdefault(_name, _value)
