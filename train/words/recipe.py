"""The recipe beside a model of own words, to go on from."""

from __future__ import annotations

import json

from train.words.folder import NEAR, TALK, OwnRecordings
from train.words.learn import Learned
from train.words.settings import BACKGROUND, UNKNOWN

TEXT = """\
# What `intentd-train words` trains in minutes is the last layer alone. This recipe trains the whole
# model on the same recordings: `intentd-train {name}`. docs/training.md has the keys.
description = "Own words: {words}"
root = {root}

[model]
base = {base}
unit = "{unit}"
window = {window}
hop = {hop}
labels = {labels}
non_intents = {non_intents}

[[data]]
path = "."
only = {only}
placing = "{placing}"
attribution = "Recorded by the user"
{others}
{method}"""
WORD = """\
[augment]
snr_db = [3, 35]
gain_db = [-18, 6]
speed = [0.9, 1.1]
equalize_db = 10
room_probability = 0.3
cut_probability = 0.05
background_probability = 0.05
isolate_probability = 0.35

[train]
steps = 600
learning_rate = 3e-4
schedule = "cosine"
average = 0.99
eval_every = 100

[calibrate]
false_alarms_per_hour = 0.5
rolling_windows = [1, 2, 3]
"""
UTTERANCE = """\
[augment]
snr_db = [3, 35]
gain_db = [-18, 6]
speed = [0.9, 1.1]

[train]
steps = 600
batch_size = 8
bag_windows = 12
freeze_features = true
learning_rate = 4e-4
schedule = "cosine"
average = 0.99
eval_every = 100

[calibrate]
false_alarms_per_hour = 0.5
"""
OTHER = """
[[data]]
path = "{path}"
label = "unknown"
placing = "{placing}"
attribution = "Recorded by the user"
"""


def recipe_text(own: OwnRecordings, learned: Learned, base: str = "words") -> str:
    """TOML that `intentd-train` takes."""
    unit = learned.settings.unit
    non_intents = [UNKNOWN, BACKGROUND] if unit == "word" else [UNKNOWN]
    others = [
        OTHER.format(path=path, placing=placing)
        for path, takes, placing in ((NEAR, own.near, "word"), (TALK, own.talk, "crop"))
        if takes
    ]
    return TEXT.format(
        name="recipe.toml",
        words=", ".join(own.words).replace('"', "'").replace("\\", "/"),
        root=_toml(str(own.folder.resolve())),
        base=_toml(base),
        unit=unit,
        placing="word" if unit == "word" else "crop",
        method=WORD if unit == "word" else UTTERANCE,
        window=learned.settings.window,
        hop=learned.settings.hop,
        labels=_toml([*own.words, *non_intents]),
        non_intents=_toml(non_intents),
        only=_toml(list(own.words)),
        others="".join(others),
    )


def _toml(value: str | list[str]) -> str:
    """A string or a list of strings; JSON's are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
