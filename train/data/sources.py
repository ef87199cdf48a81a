"""Rows of audio and what is known of them, from parquet, the hub, folders and manifests."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from train.recipe import DataSection


@dataclass(frozen=True, slots=True)
class Row:
    """One recording before it is decoded. `start` and `end` in seconds cut a part out of it."""

    audio: bytes | str
    path: str
    label: str | None
    group: str
    """Speaker or other group, "" if unknown."""
    start: float | None = None
    end: float | None = None
    fault: str | None = None
    """Why the row cannot be used, where that shows before decoding."""


def rows_of(section: DataSection, path: Path) -> Iterator[Row]:
    """All rows of a data section whose path lies at `path`.

    Raises UserError if it does not exist or has no column for what is needed.
    """
    if path.is_file() and path.suffix == ".parquet":
        yield from _table_rows(section, str(path))
    elif path.is_file() and path.suffix in {".csv", ".jsonl"}:
        yield from _manifest_rows(path)
    elif path.is_dir() and any(path.glob("*.parquet")):
        yield from _table_rows(section, str(path / "*.parquet"))
    elif path.is_dir():
        yield from _folder_rows(path, section)
    elif path.is_file():
        raise UserError(
            f"data source {path} is none of what can be read: parquet, a folder, .csv or .jsonl."
        )
    elif (
        section.path.count("/") == 1
        and not section.path.startswith((".", "/", "~"))
        and ("." not in section.path)
    ):
        yield from _table_rows(section, None)
    else:
        raise UserError(f"data source {path} does not exist; set its path or --set root=FOLDER.")


def _table_rows(section: DataSection, data_files: str | None) -> Iterator[Row]:
    from datasets import Audio, ClassLabel, load_dataset
    from datasets.utils import disable_progress_bars

    disable_progress_bars()
    try:
        if data_files is not None:
            table = load_dataset("parquet", data_files=data_files, split="train")
        else:
            table = load_dataset(section.path, name=section.config, split=section.split)
    except Exception as error:
        # datasets raises errors of pyarrow, fsspec, its own and the network's; all mean the same.
        raise UserError(
            f"The data set {data_files or section.path!r} could not be loaded "
            f"({(str(error).splitlines() or [type(error).__name__])[0]}); "
            "check its name and the network, or give a local copy."
        ) from error
    if "audio" not in table.features:
        raise UserError(
            f"{section.path} has no column 'audio'; it has {', '.join(table.features)}."
        )
    column = table.features.get(section.label_column)
    if column is None and section.label is None:
        raise UserError(
            f"{section.path} has no column {section.label_column!r}; it has "
            f"{', '.join(table.features)}. Set label_column, or label for one label for all."
        )
    table = table.cast_column("audio", Audio(decode=False))
    for number, row in enumerate(table):
        value, fault = row.get(section.label_column), None
        if isinstance(column, ClassLabel) and value is not None:
            try:
                value = column.int2str(value) if value >= 0 else None
            except ValueError:
                value, fault = None, f"is labelled {value}, which the data set has no name for"
        audio = row["audio"] or {"bytes": None, "path": None}
        path = audio["path"] or row.get("path") or f"row {number}"
        if audio["bytes"] is None and not audio["path"]:
            fault = "has no audio"
        group = row.get(section.speaker_column) if section.speaker_column else None
        yield Row(
            audio["bytes"] if audio["bytes"] is not None else path,
            str(path),
            None if value is None else str(value),
            "" if group is None else str(group),
            fault=fault,
        )


def _folder_rows(path: Path, section: DataSection) -> Iterator[Row]:
    """Every file, whatever it is: what decodes is a recording, the rest is listed with a reason."""
    for file in sorted(path.rglob("*")):
        if not file.is_dir() and file.name not in section.exclude:
            relative = file.relative_to(path)
            label = relative.parts[0] if len(relative.parts) > 1 else None
            yield Row(str(file), str(relative), label, "")


def _manifest_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        for number, entry in _entries(path, lines):
            name = entry.get("path")
            if not isinstance(name, str) or not name:
                raise UserError(f"{path}, row {number}: every row needs a path.")
            try:
                start, end = _seconds(entry.get("start")), _seconds(entry.get("end"))
                fault = None
            except (TypeError, ValueError):
                start = end = None
                fault = "has a start or end that is no number of seconds"
            label, group = entry.get("label"), entry.get("speaker")
            yield Row(
                str(path.parent / name),
                name,
                None if label in (None, "") else str(label),
                "" if group is None else str(group),
                start,
                end,
                fault,
            )


def _entries(path: Path, lines: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".csv":
        yield from enumerate(csv.DictReader(lines), 2)
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error}.") from error
        if not isinstance(entry, dict):
            raise UserError(f"{path}, line {number} is not a JSON object.")
        yield number, entry


def _seconds(value: Any) -> float | None:
    if value in (None, ""):
        return None
    seconds = float(value)
    if not 0 <= seconds < 1e7:
        raise ValueError(value)
    return seconds
