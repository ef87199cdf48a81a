"""Recordings from folders, manifests, parquet and the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.base.errors import UserError
from daemon.base.hub import PREFIX, hub_id
from train.data.folders import folder_rows
from train.data.manifests import is_manifest, manifest_rows
from train.data.rows import Row
from train.data.tables import hub_rows, parquet_files, parquet_rows
from train.recipe import DataSection


def rows_of(
    section: DataSection, path: Path, note: Callable[[str], None] = lambda _: None
) -> Iterator[Row]:
    """All rows of a data section at `path`.

    It is relative to the recipe's root.

    `note` is called with sentences about the source as a whole.

    Raises:
        UserError: it does not exist, cannot be read, or has no column for what is needed.
    """
    if path.is_file() and path.suffix.lower() == ".parquet":
        yield from parquet_rows(section, [path], note)
    elif path.is_file() and is_manifest(path):
        yield from manifest_rows(path, section, note)
    elif path.is_dir() and (files := parquet_files(path)):
        yield from parquet_rows(section, files, note)
    elif path.is_dir():
        yield from folder_rows(path, section, note)
    elif path.is_file():
        spreadsheet = path.suffix.lower() in {".xlsx", ".xls", ".ods"}
        raise UserError(
            f"data source {path} is a spreadsheet; save it as CSV (UTF-8)."
            if spreadsheet
            else f"data source {path} is none of what can be read: parquet, a folder, .csv, .tsv "
            "or .jsonl."
        )
    else:
        name = hub_id(section.path, _folder_of(section, path))
        if name is None:
            raise UserError(
                f"data source {section.path} is no data set of the hub; write hub:owner/name."
                if section.path.startswith(PREFIX)
                else f"data source {path} does not exist; set its path or --set root=FOLDER."
            )
        yield from hub_rows(section, name)


def _folder_of(section: DataSection, path: Path) -> Path:
    """The folder that the section's path is relative to."""
    return path.parents[min(section.path.count("/"), len(path.parents) - 1)]
