"""Names from outside as harmless text: what is not printable is shown, never obeyed."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 512
"""Characters kept of a name on a screen. Zero-width characters take no cells, so that cutting to
a width alone would not bound what is sent to a terminal."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_JOINERS = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")


def utf8_text(text: str) -> str:
    r"""`text` without lone surrogates, which UTF-8 and strict JSON readers refuse.

    Bytes of a file name that are no UTF-8 (PEP 383 keeps them as U+DC80 to U+DCFF) become
    ``\xff``; other lone surrogates ``\ud800``. Different names stay different to the eye.
    """
    return _SURROGATE.sub(_escape_surrogate, text)


def screen_text(text: str) -> str:
    r"""`text` as one line that a terminal only shows: control characters, direction overrides and
    whatever else has no glyph appear as ``\x1b``, ``\n`` or ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text[:LONGEST]
    return "".join(_visible(character) for character in text[:LONGEST])


def _escape_surrogate(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character in _JOINERS:
        return ""
    if unicodedata.category(character) == "Zs":
        return " "
    if unicodedata.category(character) == "Cs":
        return utf8_text(character)
    return character.encode("unicode_escape").decode("ascii")
