"""Damage to bytes, texts and values, careless or hostile."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

NASTY_TEXT = (
    "",
    " ",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "[red]markup[/red]",
    "[link=file:///etc/passwd]x[/link]",
    "[/]",
    "two\nlines",
    "a\rb",
    "nul\0byte",
    "\u202egnp.exe",
    "\u200b" * 40,
    "é" * 300,
    "x" * 20_000,
    "\U0001f600",
    "%s%n{0}${HOME}`id`",
    "../../../../etc/passwd",
    "NaN",
    "__import__('os').system('id')",
)
NASTY_NUMBERS = (
    0, 1, -1, 2, 0.5, -0.5, 1e-300, 1e300, -1e300, 1e400, float("nan"), 2**31, 2**31 - 1, 2**63,
    -(2**63), 2**64, 10**30, 10**400, 65536, 1_000_000, 100_000_000_000, 0.1, True, False,
)  # fmt: skip


def mutate_bytes(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Cut, flipped, doubled, swapped, spliced: one to a few of these."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = (
            rng.randrange(len(out) + 1)
            if rng.random() < 0.5
            else rng.randrange(min(len(out), 64) + 1)
        )
        end = min(len(out), at + rng.choice((1, 2, 4, 16, 400)))
        match rng.randrange(8):
            case 0:
                del out[at:]
            case 1:
                del out[at:end]
            case 2:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 100)))
            case 3:
                out[at:end] = rng.randbytes(end - at)
            case 4:
                out[at:end] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * (end - at)
            case 5:
                out[at:at] = out[at:end]
            case 6 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case _ if others:
                other = rng.choice(others)
                out[at:] = other[rng.randrange(len(other) + 1) :]
            case _:
                out += rng.randbytes(50)
    return bytes(out)


def nasty_value(rng: random.Random, depth: int = 0) -> Any:
    """Any value that JSON or TOML can hold, and some that they can't."""
    match rng.randrange(10 if depth < 3 else 7):
        case 0 | 1 | 2:
            return rng.choice(NASTY_NUMBERS)
        case 3 | 4:
            return rng.choice(NASTY_TEXT)
        case 5:
            return rng.randint(-10, 10 ** rng.choice((1, 2, 5, 9)))
        case 6:
            return None
        case 7 | 8:
            return [nasty_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 40)))]
        case _:
            return {
                str(rng.choice(NASTY_TEXT))[:50]: nasty_value(rng, depth + 1)
                for _ in range(rng.randrange(4))
            }


def mutate_tree(rng: random.Random, tree: Any) -> Any:
    """A JSON-like value with one place changed."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        out = dict(tree)
        key = rng.choice(sorted(out, key=str))
        match rng.randrange(8):
            case 0:
                del out[key]
            case 1:
                out[rng.choice(NASTY_TEXT)[:200]] = nasty_value(rng)
            case 2 | 3 | 4:
                out[key] = nasty_value(rng)
            case _:
                out[key] = mutate_tree(rng, out[key])
        return out
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        items = list(tree)
        at = rng.randrange(len(items))
        if rng.random() < 0.3:
            return items * rng.choice((0, 2, 50))
        items[at] = mutate_tree(rng, items[at])
        return items
    if isinstance(tree, int | float) and not isinstance(tree, bool) and rng.random() < 0.5:
        return rng.choice(
            (tree + 1, tree - 1, -tree, tree * 2, tree * 1000, tree * 10**9, tree // 2)
        )
    return nasty_value(rng)


def nasty_name(rng: random.Random, suffix: str) -> bytes:
    """A file's name that the file system takes, and nobody else likes."""
    stem = rng.choice(
        (
            b"plain", b"plain", b"plain", b"two\nlines", b"\xff\xfe\x80", b"\x1b[2J", b"--help",
            b"[red]x", "\u202eevaw".encode(), b" ", b"a" * 240, b"%s%n", b"$(id)", b"'\"",
            "ü\u0308".encode(), b"\xed\xa0\x80",
        )
    )  # fmt: skip
    return stem + suffix.encode()
