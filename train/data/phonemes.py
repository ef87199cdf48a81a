"""Phonemes of texts by espeak-ng, and search for words by sound."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PROGRAM = "espeak-ng"
MARK = "qqqq"
ENOUGH = 4
"""Phonemes from which on a word counts as said wherever they follow each other, also inside a
longer word or across two; fewer must be a word by themselves."""
_IGNORED = re.compile(r"\([^)]*\)|[ˈˌːˑ‿.\u0303\u0361\u035c\u200d0-9-]")
"""Language switches, stress, length, ties, tones."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text and its phonemes in IPA, words parted by spaces.

    "" where they are not known.
    """

    text: str
    phonemes: str = ""


def phonemes_of(text: str, language: str = "en-us") -> str:
    """IPA of `text`, without stress, length and tone, words parted by spaces.

    "" where espeak-ng is not installed or does not speak the language.
    """
    return phonemes_of_many([text], language)[0]


def phonemes_of_many(texts: Sequence[str], language: str = "en-us") -> list[str]:
    """Phonemes of many texts, by one start of espeak-ng, which is slow."""
    if shutil.which(PROGRAM) is None:
        return [""] * len(texts)
    plain = [" ".join(re.findall(r"[\w']+", text)) for text in texts]
    told = [text for text in plain if text]
    # A long text takes several lines, so each is followed by a mark, whose line comes first.
    done = subprocess.run(
        [PROGRAM, "-q", "--ipa", "-v", language],
        input="".join(f"{text}\n\n" for text in _marked(told)).encode(),
        capture_output=True,
        check=False,
    )
    mark, *lines = done.stdout.decode(errors="replace").splitlines() or [""]
    said: list[list[str]] = [[]]
    for line in lines:
        if line == mark:
            said.append([])
        else:
            said[-1].append(line)
    if done.returncode or len(said) != len(told) + 1:
        return [""] * len(texts)
    found = iter(said)
    return [_plain(" ".join(next(found))) if text else "" for text in plain]


def _marked(texts: Sequence[str]) -> Iterator[str]:
    yield MARK
    for text in texts:
        yield text
        yield MARK


def _plain(said: str) -> str:
    """Without stress, length, tones, ties and switches of language."""
    return " ".join(_IGNORED.sub("", unicodedata.normalize("NFD", said)).split())


@functools.lru_cache(maxsize=256)
def spoken(text: str, language: str = "en-us") -> Spoken:
    """A text with its phonemes."""
    return Spoken(text, phonemes_of(text, language))


def holds(text: Spoken, word: Spoken) -> bool:
    """Whether `word` (one or several words) is in `text`.

    By spelling or by sound.
    """
    if _within(_tokens(word.text), _tokens(text.text)):
        return True
    if not word.phonemes or not text.phonemes:
        return False
    joined = word.phonemes.replace(" ", "")
    if len(joined) >= ENOUGH:
        return joined in text.phonemes.replace(" ", "")
    return _within(word.phonemes.split(), text.phonemes.split())


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold().replace("'", ""))


def _within(part: list[str], whole: list[str]) -> bool:
    length = len(part)
    return bool(length) and any(
        whole[at : at + length] == part for at in range(len(whole) - length + 1)
    )
