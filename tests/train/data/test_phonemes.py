"""Which sentences hold a word, by spelling and by sound."""

from __future__ import annotations

import shutil

import pytest

from train.data.phonemes import Spoken, holds, phonemes_of, phonemes_of_many, spoken

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


@pytest.mark.parametrize(
    ("text", "word", "held"),
    [
        ("Open the door!", "open", True),
        ("They opened it.", "open", False),
        ("turn the lights off now", "lights off", True),
        ("off the lights", "lights off", False),
        ("", "open", False),
    ],
)
def test_by_spelling(text: str, word: str, held: bool) -> None:
    assert holds(Spoken(text), Spoken(word)) is held


def test_short_sounds_must_be_words_and_longer_ones_may_be_parts() -> None:
    sentence = Spoken("x", "sʌmwʌn wɛnt ʌpɹaɪt")
    assert not holds(sentence, Spoken("won", "wʌn"))
    assert holds(Spoken("x", "hi wʌn ɪt"), Spoken("one", "wʌn"))
    assert holds(sentence, Spoken("someone", "sʌmwʌn"))
    assert holds(Spoken("x", "ʌpɹaɪt"), Spoken("y", "pɹaɪt"))


@needs_espeak
def test_homophones_are_the_same_word() -> None:
    assert holds(spoken("he ate it"), spoken("eight"))
    assert not holds(spoken("he had it"), spoken("eight"))


@needs_espeak
def test_many_texts_are_spoken_as_each_alone() -> None:
    long = "it was the best of times, it was the worst of times; " * 12
    texts = ["three", "", long, "…", "Won't you come in?", "three"]
    together = phonemes_of_many(texts)
    assert together == [phonemes_of(text) for text in texts]
    assert together[0] and together[0] == together[5]
    assert together[1] == together[3] == ""


@needs_espeak
def test_a_language_that_is_not_spoken_has_no_phonemes() -> None:
    assert phonemes_of("azul", "xx") == ""
