"""Makes foreign text safe for terminals, sentences, file names, Markdown."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from daemon.base.errors import UserError

LONGEST = 512
"""Characters kept of a name on a screen. Zero-width characters take no cells, so that cutting to
a width alone would not bound what is sent to a terminal."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_NAME = re.compile(r"^\.|[/\\%<>:\"|?*\x00-\x1f\x7f]|[. ]$")
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters that Markdown obeys; an underscore inside a word it shows."""
_JOINERS = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")


def utf8_text(text: str) -> str:
    r"""`text` without lone surrogates, which UTF-8 and strict JSON refuse.

    Bytes of a file name that are no UTF-8 (PEP 383 keeps them as U+DC80 to U+DCFF) become
    ``\xff``; other lone surrogates ``\ud800``. Different names stay different to the eye.
    """
    return _SURROGATE.sub(_escape_surrogate, text)


def screen_text(text: str) -> str:
    r"""`text` as one line without characters that control a terminal.

    Control characters, direction overrides and whatever else has no glyph appear as ``\x1b``,
    ``\n`` or ``\u202e``; surrogates as `utf8_text` has them.
    """
    if text.isascii() and text.isprintable():
        return text[:LONGEST]
    return "".join(_visible(character) for character in utf8_text(text[:LONGEST]))


def escaped(text: str, limit: int = 4096) -> str:
    r"""`text` as one line of a sentence, with invisible characters escaped.

    Unlike `screen_text` it shows zero-width characters and blanks other than the space too, as
    ``\u200b``, since they may be what is wrong.
    """
    text = utf8_text(text)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def value_text(value: object, limit: int = 80) -> str:
    """A foreign value for a sentence: short, on one line, text quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{escaped(value, limit)}"'
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a huge number"
    return escaped(repr(value), limit)


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name nearest to `name`; None if none is near (see difflib)."""
    return next(iter(difflib.get_close_matches(name.lower(), list(known), 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Clause that suggests the nearest known name; empty if none is near."""
    near = closest(name, known)
    return f"; did you mean {near}?" if near else ""


def split_assignment(text: str, example: str, parts: int = 1) -> tuple[list[str], str]:
    """Split `section.key=value` of --set into the key's parts and the value.

    parts: the least number of parts.

    Raises: UserError.
    """
    dotted, equals, value = text.partition("=")
    path = dotted.strip().split(".")
    if not equals or len(path) < parts or not path[0]:
        raise UserError(
            f"--set {value_text(text)} must look like section.key=value, "
            f"for example --set {example}"
        )
    return path, value.strip()


def name_text(path: Path | str) -> str:
    r"""A file's name as text that every encoder takes.

    What is no UTF-8 in it appears as ``\xff``. The same in every locale, unlike ``str(path)``.
    """
    return utf8_text(os.fsencode(path).decode("utf-8", "surrogateescape"))


def local_path(text: str) -> Path:
    """Path that `text` from a UTF-8 file names here, in any locale."""
    return Path(os.fsdecode(text.encode("utf-8", "surrogateescape")))


def file_name(text: str) -> str:
    """`text` as the name of one file or folder.

    What a path, Windows or a hidden name would take otherwise is percent-encoded.
    """
    text = _NO_NAME.sub(lambda match: f"%{ord(match.group()):02X}", utf8_text(text))
    return text or "%00"


def markdown_text(text: str) -> str:
    """`text` as one line of Markdown, or a table's cell, that shows it as is."""
    shown = screen_text(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", shown)


def markdown_code(text: str) -> str:
    """`text` as a code span of Markdown, on one line."""
    shown = screen_text(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    blank = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{blank}{shown}{blank}{fence}"


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
