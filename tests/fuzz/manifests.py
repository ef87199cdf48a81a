"""Damaged manifests of spreadsheets and editors, read as training does."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

from fuzz.mutators import NASTY_TEXT, mutate_bytes, mutate_tree, nasty_name, nasty_value
from fuzz.screen import check_sentence

from daemon.base.errors import UserError
from train.data.manifests import JSON_LINES, TABLES, manifest_rows
from train.recipe import DataSection

ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")
COLUMNS = ("path", "label", "speaker", "start", "end")
HEADERS = (*COLUMNS, "Path", " file ", "intent", "audio", "speaker_id", "", "x" * 200_000, '"', "ü")
MANY = 30


class ManifestCases:
    """Makes and runs the cases."""

    def run(self, rng: random.Random, folder: Path) -> str:
        """One case; "read" or "refused"."""
        suffix = rng.choice(sorted(TABLES | JSON_LINES))
        file = folder / nasty_name(rng, suffix).decode("utf-8", "surrogateescape")
        content = self._json(rng) if suffix in JSON_LINES else self._table(rng)
        raw = content.encode(rng.choice(ENCODINGS), "replace")
        if rng.random() < 0.3:
            raw = mutate_bytes(rng, raw)
        file.write_bytes(raw)
        notes: list[str] = []
        section = DataSection(path="x", label=rng.choice((None, None, "left")))
        try:
            rows = list(manifest_rows(file, section, notes.append))
        except UserError as error:
            check_sentence(str(error))
            return "refused"
        for sentence in (*notes, *(row.fault for row in rows if row.fault)):
            check_sentence(sentence)
        for row in rows:
            (row.path + (row.label or "") + row.group).encode("utf-8")
            assert row.fault is not None or row.audio, row
        return "read" if rows else "empty"

    def _entry(self, rng: random.Random, number: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "path": rng.choice((f"{number}.wav", f"a\\{number}.wav", "grün.wav", "x/" * 3000)),
            "label": rng.choice(("left", "right", "grün", " up ")),
            "speaker": rng.choice(("anna", "", 7)),
            "start": rng.choice((0, 1.5, "1,5", "")),
            "end": rng.choice((2, "2.5", None)),
        }
        for _ in range(rng.choice((0, 0, 1))):
            entry[rng.choice(COLUMNS)] = nasty_value(rng)
        return entry

    def _json(self, rng: random.Random) -> str:
        entries: list[Any] = [self._entry(rng, n) for n in range(rng.randrange(MANY))]
        if rng.random() < 0.3:
            entries = mutate_tree(rng, entries)
        if rng.random() < 0.3:
            return json.dumps(entries, ensure_ascii=rng.random() < 0.5)
        lines = [json.dumps(entry) for entry in entries] if isinstance(entries, list) else ["{"]
        return rng.choice(("\n", "\r\n", "\n\n")).join(lines)

    def _table(self, rng: random.Random) -> str:
        out = io.StringIO()
        delimiter = rng.choice((",", ";", "\t"))
        columns = list(COLUMNS[: rng.choice((1, 2, 2, 3, 5))])
        if rng.random() < 0.3:
            columns[rng.randrange(len(columns))] = rng.choice(HEADERS)
        if rng.random() < 0.2:
            columns.append(rng.choice(HEADERS))
        if rng.random() < 0.2:
            out.write(rng.choice(("\n\n", "sep=;\n", 'sep="\n', "sep= \n", "sep=\t\n", "sep=ü\n")))
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(columns)
        for number in range(rng.randrange(MANY)):
            entry = self._entry(rng, number)
            values = [self._text(rng, entry.get(name)) for name in columns]
            writer.writerow(values[: rng.choice((len(values), len(values), 1))])
        return out.getvalue().replace(",", rng.choice((",", ",", ", ")))

    def _text(self, rng: random.Random, value: Any) -> str:
        if isinstance(value, str | float | int | None) and rng.random() < 0.95:
            try:
                return "" if value is None else str(value)
            except ValueError:  # an integer of more digits than Python prints
                return "9" * 5000
        return rng.choice(NASTY_TEXT)
