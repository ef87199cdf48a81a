"""config.toml as typed settings, in layers, with each value's origin.

Precedence: built-in defaults < what the model's `intentd` key says < file < environment < command
line.
"""

from daemon.config.layers import Layer, Origin, model_keys
from daemon.config.loading import Loaded, load_settings
from daemon.config.lookup import keys
from daemon.config.settings import (
    AudioSettings,
    EventSettings,
    GateSettings,
    ModelSettings,
    OutputSettings,
    RollingSettings,
    ServeSettings,
    Settings,
    WindowSettings,
)
from daemon.config.sources import Option, Sources, user_file
from daemon.config.template import shipped_text, toml

__all__ = [
    "AudioSettings",
    "EventSettings",
    "GateSettings",
    "Layer",
    "Loaded",
    "ModelSettings",
    "Option",
    "Origin",
    "OutputSettings",
    "RollingSettings",
    "ServeSettings",
    "Settings",
    "Sources",
    "WindowSettings",
    "keys",
    "load_settings",
    "model_keys",
    "shipped_text",
    "toml",
    "user_file",
]
