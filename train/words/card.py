"""The model card of own words."""

from __future__ import annotations

from typing import Any

from train.words.folder import OwnRecordings
from train.words.learn import Learned
from train.words.report import Expectation, sentences
from train.words.take_streams import LEVELS

CARD = """\
---
library_name: transformers
pipeline_tag: audio-classification
license: other
tags: [intentd, wav2vec2, keyword-spotting, own-words]
---

# {words}

A Wav2Vec2 audio classifier for intentd of own {unit}, mono at 16 kHz. Windows of {window:g} s, one
every {hop:g} s. Not intents: unknown, background.

```sh
intentd live --model DIRECTORY
```

## What to expect

{sentences}

Each take was judged by a head that did not learn from it. So were {hours:.1f} hours of other
people's talk, in which false alarms were counted; the encoder has heard a part of it, unlabelled.

| word | takes | {levels} | threshold |
|---|---|{rules}|---|
{rows}

## How it was made

`{command}`, {date}, {minutes} minutes. The encoder is as it ships; the head is one linear layer,
fitted to augmented copies of the takes against the recordings in train/world, whose README names
their authors and licences.{verifier} `recipe.toml` trains the whole model instead. Figures are in
metrics.json; {problems} recordings were left out (problems.jsonl).

## What it should not be used for

Anything where a word that is missed or heard by mistake does harm. It was trained on one voice or
few; others are heard less well.
"""
VERIFIED = (
    " Its verifier is another linear layer, on vectors of EfficientWord-Net's ResNet-50 "
    "(Ant-Brain, Apache-2.0); the thresholds above are those of the verified score."
)


def card(own: OwnRecordings, learned: Learned, found: Expectation, figures: dict[str, Any]) -> str:
    """Markdown with the header that the hub reads."""
    names = ["in quiet" if level is None else f"{level:g} dB" for level in LEVELS]
    rows = [
        f"| {word} | {result.takes} | "
        + " | ".join(f"{result.detected[level]} of {result.takes}" for level in LEVELS)
        + f" | {learned.thresholds[word]:.3f} |"
        for word, result in found.words.items()
    ]
    return CARD.format(
        words=", ".join(own.words),
        unit="words" if learned.settings.unit == "word" else "sentences",
        window=learned.settings.window,
        hop=learned.settings.hop,
        sentences="\n".join(f"- {line}" for line in sentences(found)),
        hours=found.hours,
        levels=" | ".join(names),
        rules="|".join("---" for _ in names),
        rows="\n".join(rows),
        command=figures["command"],
        date=figures["date"],
        minutes=figures["minutes"],
        problems=figures["problems"],
        verifier=VERIFIED if learned.judge.verifier is not None else "",
    )
