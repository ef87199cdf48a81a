"""Who speaks what in synthetic data; nothing is spoken here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon.base.errors import UserError
from train.data.synthesis import CASTS, read_vocabulary, sentences, voices


def names(cast: str) -> set[str]:
    return {re.sub(r"^[a-z0-9-]*", "", voice.name) for voice in voices(0, 300, cast)}


def test_no_voice_is_in_both_casts() -> None:
    training, held_out = CASTS["training"], CASTS["held-out"]
    assert not set(training.variants) & set(held_out.variants)
    assert not set(training.flite) & set(held_out.flite)
    assert not names("training") & names("held-out")
    assert len(names("held-out")) > 10


def test_sentences_hold_none_of_the_words_and_repeat() -> None:
    words = [f"{a}{b}{c}" for a in "bcdfg" for b in "aeiou" for c in "lmnrst"]
    some = sentences(3, 200, ["window", "balon", words[7]], words)
    assert some == sentences(3, 200, ["window", "balon", words[7]], words)
    spoken = " ".join(some).split()
    assert "window" not in spoken
    assert words[7] not in spoken
    assert len(set(words) & set(spoken)) > 100


def test_a_vocabulary_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text("\n".join(["Paris", "cat's", "ab", *(f"word{'abc'[n % 3]}" for n in range(9))]))
    with pytest.raises(UserError, match="has 9 plain words"):
        read_vocabulary(file)
    file.write_text("\n".join(["Paris", "cat's", *["river"] * 120]))
    assert set(read_vocabulary(file)) == {"river"}
    with pytest.raises(UserError, match="cannot be read"):
        read_vocabulary(tmp_path / "none")
