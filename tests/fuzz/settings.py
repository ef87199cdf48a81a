"""Hostile settings: files, variables and options, as read by `config`."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path
from typing import Any

from fuzz.mutators import NASTY_NUMBERS, NASTY_TEXT, mutate_bytes, nasty_name, nasty_value
from fuzz.screen import check_sentence, check_text

from daemon.base.errors import UserError
from daemon.commands.config import text
from daemon.config import Sources, keys, load_settings, shipped_text


class SettingsCases:
    """Makes and runs the cases."""

    def __init__(self) -> None:
        self._keys = [(section, key) for section, key, _ in keys()]
        self._shipped = shipped_text()

    def run(self, rng: random.Random, folder: Path) -> str:
        """One case; "taken" or "refused"."""
        file = folder / nasty_name(rng, ".toml").decode("utf-8", "surrogateescape")
        file.write_bytes(self._content(rng))
        environ = {self._variable(rng): self._word(rng) for _ in range(rng.choice((0, 0, 1, 3)))}
        assignments = [self._assignment(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                loaded = load_settings(
                    Sources(file, tuple(assignments)),
                    environ=environ,
                    model=lambda _: (rng.choice(NASTY_TEXT), self._from_model(rng)),
                )
                loaded.check_labels(("up", "down"))
        except UserError as error:
            check_sentence(str(error))
            check_text(str(error), "the sentence itself")
            return "refused"
        assert printed.getvalue() == ""
        check_text(text(loaded).replace("\n", " ")[:5000], "intentd config")
        for warning in loaded.warnings():
            check_text(warning, "a warning")
        return "taken"

    def _content(self, rng: random.Random) -> bytes:
        match rng.randrange(6):
            case 0:
                return mutate_bytes(rng, self._shipped.encode())
            case 1:
                return self._deep(rng)
            case 2:
                return rng.randbytes(rng.choice((0, 1, 100)))
            case _:
                return self._toml(rng).encode("utf-8", "surrogatepass")

    def _toml(self, rng: random.Random) -> str:
        lines = []
        for _ in range(rng.choice((1, 1, 2, 6))):
            section, key = rng.choice(self._keys)
            if rng.random() < 0.15:
                section = rng.choice(("audoi", "gate.x", '"\\u001b[31m"', "events.thresholds"))
            if rng.random() < 0.15:
                key = rng.choice(("holp", '"[red]"', '"\\n"', "x" * 3000, "up"))
            lines.append(f"[{section}]\n{key} = {self._literal(rng)}")
        return "\n".join(lines)

    def _literal(self, rng: random.Random) -> str:
        match rng.randrange(12):
            case 0:
                return rng.choice(
                    (
                        "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "inf", "-nan", "0x7f",
                        "1e999", "{}", "[]", "{a = 1, a = 2}", "[[1], [2]]", "\"\"\"x\ny\"\"\"",
                        "9" * 5000, "0b" + "1" * 5000, "1_000", "+0.0", "-0.0", '"\\ud800"',
                    )
                )  # fmt: skip
            case 1:
                return "{" + ", ".join(f"{json.dumps(t[:9])} = 2" for t in NASTY_TEXT[1:4]) + "}"
            case 2:
                return "{up = 0.5, down = " + self._number(rng) + "}"
            case 3 | 4:
                return self._number(rng)
            case 5 | 6 | 7 | 8:
                return rng.choice(("0.5", "1", "1.0", "true", "0", "'off'", "'x.jsonl'", "{}"))
            case _:
                return json.dumps(rng.choice(NASTY_TEXT))

    def _number(self, rng: random.Random) -> str:
        number = rng.choice(NASTY_NUMBERS)
        if isinstance(number, bool):
            return "true" if number else "false"
        if isinstance(number, float) and number in (float("inf"),):
            return "inf"
        return repr(number) if abs(number) < 1e100 else "1" * 400

    def _deep(self, rng: random.Random) -> bytes:
        depth = rng.choice((50, 1000, 100_000))
        return rng.choice(
            (
                b"a = " + b"[" * depth,
                b"[events]\nthresholds = " + b"{a = " * depth,
                b"[" + b"a." * depth + b"b]\nx = 1",
                b"x = '" + b"y" * 2_000_000 + b"'",
                b"[gate]\n" * depth,
            )
        )

    def _from_model(self, rng: random.Random) -> dict[str, Any]:
        """The layer of a model, whose values were checked when it was read."""
        return {"window": {"hop": 0.24}} if rng.random() < 0.5 else {}

    def _variable(self, rng: random.Random) -> str:
        section, key = rng.choice(self._keys)
        return rng.choice(
            (
                f"INTENTD_{section}__{key}".upper(), f"INTENTD_{section}__{key}".upper(),
                "INTENTD_EVENTS__THRESHOLDS__UP", "INTENTD_", "INTENTD___", "INTENTD_A__B__C__D",
                "INTENTD_GATE_KIND", f"INTENTD_{rng.choice(NASTY_TEXT)[:30]}__X".replace("\0", ""),
            )
        )  # fmt: skip

    def _word(self, rng: random.Random) -> str:
        return _word(rng)

    def _assignment(self, rng: random.Random) -> str:
        section, key = rng.choice(self._keys)
        return rng.choice(
            (
                f"{section}.{key}={_word(rng)}", f"{section}.{key}",
                "=", ".=", f"..={_word(rng)}", "events.thresholds.up=0.5=", _word(rng),
                f"events.thresholds={_word(rng)}",
            )
        )  # fmt: skip


def _word(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(NASTY_TEXT).replace("\0", "")
    value = nasty_value(rng)
    try:
        return str(value)[:5000]
    except ValueError:  # an integer of more digits than Python prints
        return "9" * 5000
