"""The shipped config.toml, made from the settings.

It has every key with its comment and default.
"""

from __future__ import annotations

import json

from daemon.config.lookup import from_model, sections
from daemon.config.settings import OnSettings

_HEAD = """\
# Settings of intentd. Every key is here with its default.
#
# Looked for at --config FILE, ./config.toml, then config.toml in the user's config folder
# (~/.config/intentd on Linux); the first that is found counts. A variable such as
# INTENTD_GATE__KIND=off goes before the file, and the command line before both. `intentd config`
# prints the settings in force and where each comes from.
#
# A key that stands commented out is one that a model may bring along, chosen together with its
# thresholds. Uncomment it only to overrule the model; intentd warns when you do.
"""

_ON = """\
[on]
# What is run when an intent is spoken: a program and its arguments, without a shell unless
# shell = true. The event comes as JSON on its standard input and as INTENTD_INTENT,
# INTENTD_SCORE, INTENTD_STREAM and INTENTD_AT in its environment; "*" is every intent.
# left = {run = ["notify-send", "left"]}
# "*" = {run = ["echo $INTENTD_INTENT >> spoken.txt"], shell = true}
"""


def shipped_text() -> str:
    """The text of the file."""
    parts = [_HEAD]
    for name, table in sections().items():
        if table is OnSettings:
            parts.append(_ON)
            continue
        lines = [f"[{name}]"]
        for key, field in table.model_fields.items():
            default = field.get_default(call_default_factory=True)
            lines.append(f"# {' '.join((field.description or '').split())}")
            lines.append(f"{'# ' if from_model(field) else ''}{key} = {toml(default)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def toml(value: object) -> str:
    """A value of a setting as TOML; a table of labels is shown empty."""
    if isinstance(value, dict):
        return "{}"
    return json.dumps(value, ensure_ascii=isinstance(value, str | list))
