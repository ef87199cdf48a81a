"""Tables of recordings: parquet files, and data sets of the hub."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError, first_line
from daemon.base.hub import hub_answers
from daemon.base.text import utf8_text
from train.data.rows import Row
from train.data.split import PART_NAMES, PARTS, Part, parts_by_name
from train.recipe import DataSection


def parquet_files(folder: Path) -> list[Path]:
    """Parquet files in a folder, or in its folder `data` as on the hub."""
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def parquet_rows(
    section: DataSection, files: Sequence[Path], note: Callable[[str], None]
) -> Iterator[Row]:
    """The rows of parquet files.

    Those of train-….parquet and test-….parquet keep their parts.

    Raises:
        UserError: they cannot be read, or a column that is needed is missing.
    """
    names = {file: re.split(r"[-_.]", file.name, maxsplit=1)[0] for file in files}
    known = all(name.lower() in PART_NAMES for name in names.values())
    own = parts_by_name(sorted(set(names.values()))) if known and len(files) > 1 else {}
    if len(own) > 1:
        note(f"{section.path}: its files are taken as parts of the split, {', '.join(own)}")
    groups: dict[tuple[Part, ...], list[Path]] = {}
    for file in files:
        groups.setdefault(own.get(names[file], PARTS), []).append(file)
    for parts, group in groups.items():
        yield from _rows(section, _parquet_table(group), parts)


def _parquet_table(files: Sequence[Path]) -> Any:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    # A name may hold what a pattern is made of.
    patterns = [glob.escape(str(file)) for file in files]
    try:
        return load_dataset("parquet", data_files=patterns, split="train")
    except MemoryError:
        raise
    except Exception as error:
        # datasets raises errors of pyarrow, fsspec and its own; all mean the same.
        raise UserError(f"{files[0]} cannot be read as parquet ({first_line(error)}).") from error


def hub_rows(section: DataSection, name: str) -> Iterator[Row]:
    """The rows of the data set `name` on the hub, or of its copy in the cache.

    Raises:
        UserError: the hub does not answer or has no such data set, or a column is missing.
    """
    import datasets

    datasets.disable_progress_bars()
    if not hub_answers() and not _use_cache(name):
        raise UserError(
            f"there is no folder or file {section.path}, and the hub, where it could be a data "
            "set, can't be reached; set path or root to where the recordings are, or connect to "
            "the network."
        )
    try:
        table = datasets.load_dataset(name, name=section.config, split=section.split)
    except MemoryError:
        raise
    except Exception as error:
        raise UserError(
            f"there is no folder or file {section.path}, and the data set {name} could not be had "
            f"from the hub ({first_line(error)}); check the name."
        ) from error
    yield from _rows(section, table)


def _use_cache(name: str) -> bool:
    """Go offline if the data set has been fetched before; whether it has."""
    import datasets
    import huggingface_hub

    folder = os.path.join(datasets.config.HF_DATASETS_CACHE, name.replace("/", "___").lower())  # noqa: PTH118
    if not os.path.isdir(folder):  # noqa: PTH112
        return False
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    return True


def _rows(section: DataSection, table: Any, parts: tuple[Part, ...] = PARTS) -> Iterator[Row]:
    from datasets import Audio, ClassLabel

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
            utf8_text(str(path)),
            None if value is None else utf8_text(str(value)),
            "" if group is None else utf8_text(str(group)),
            fault=fault,
            parts=parts,
        )
