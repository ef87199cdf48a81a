"""Manifests: tables of recordings as CSV, TSV or JSON lines.

As spreadsheets and editors save them.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError, os_reason
from daemon.base.text import local_path, utf8_text
from daemon.base.text_files import decode_text
from train.data.rows import Row
from train.recipe import DataSection

TABLES = {".csv", ".tsv", ".tab", ".txt"}
JSON_LINES = {".jsonl", ".ndjson", ".json"}
DELIMITERS = ",;\t"
PATH_NAMES = ("path", "file", "filename", "file_name", "audio", "audio_path", "filepath")
LABEL_NAMES = ("label", "intent", "class")
SPEAKER_NAMES = ("speaker", "speaker_id", "client_id")

Entry = dict[str, Any]


def is_manifest(path: Path) -> bool:
    """Whether the file `path` is read as a manifest, by its suffix."""
    return path.suffix.lower() in TABLES | JSON_LINES


def manifest_rows(path: Path, section: DataSection, note: Callable[[str], None]) -> Iterator[Row]:
    """The rows of a manifest, paths relative to its folder.

    `note` is called with sentences about the file.

    Raises:
        UserError: it cannot be read, or a column that is needed is missing or there twice.
    """
    text, encoding = _read(path, note)
    if path.suffix.lower() in TABLES:
        columns, entries = _table(path, text)
    else:
        entries = list(_json(path, text))
        columns = list(dict.fromkeys(name for _, entry in entries for name in entry))
    found = _columns(path, columns, section)
    for number, entry in entries:
        yield _row(path, number, {key: entry.get(name) for key, name in found.items()}, encoding)


def _columns(path: Path, columns: Sequence[str], section: DataSection) -> dict[str, str]:
    """Names of the columns path, label, speaker, start and end in a manifest."""
    found = {}
    for key, names, needed in (
        ("path", PATH_NAMES, True),
        ("label", (section.label_column, *LABEL_NAMES), section.label is None),
        ("speaker", (section.speaker_column or "speaker", *SPEAKER_NAMES), False),
        ("start", ("start",), False),
        ("end", ("end",), False),
    ):
        wanted = list(dict.fromkeys(name.lower() for name in names))
        fitting = [column for column in columns if column.strip().lower() in wanted]
        first = [column for column in fitting if column.strip().lower() == wanted[0]]
        if len(first) == 1 or len(fitting) == 1:
            found[key] = (first or fitting)[0]
        elif fitting and (needed or key != "label"):
            raise UserError(
                f"{path} has several columns that could be its {key}: "
                f"{', '.join(map(utf8_text, fitting))}; call one of them {key}, no other."
            )
        elif needed:
            there = ", ".join(utf8_text(name) or '""' for name in columns[:12]) or "none"
            raise UserError(
                f"{path} has no column {names[0]!r} (or {', '.join(wanted[1:4])}); its columns are "
                f"{there}. The first line must name them, for example path,label,speaker."
            )
    return found


def _read(path: Path, note: Callable[[str], None]) -> tuple[str, str]:
    """Text of a manifest, and the encoding that its file names may be in."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({os_reason(error)}).") from error
    try:
        return decode_text(raw), "utf-8"
    except UnicodeDecodeError:
        note(
            f"{path.name} is not UTF-8 and was read as Windows-1252; if letters are wrong, save it "
            "as UTF-8"
        )
        # Five bytes stand for nothing in it; they become U+FFFD.
        return raw.decode("cp1252", "replace"), "cp1252"


def _table(path: Path, text: str) -> tuple[list[str], list[tuple[int, Entry]]]:
    """The columns that the first line names, and the entries by line number."""
    lines = list(io.StringIO(text, newline=""))
    first, delimiter = 0, None
    while first < len(lines) and not lines[first].strip():
        first += 1
    head = lines[first].strip("\r\n") if first < len(lines) else ""
    if head.lower().startswith("sep=") and len(head) == 5:  # a line that Excel reads and writes
        first, delimiter = first + 1, head[4] if head[4] not in '" ' else None
    header = lines[first] if first < len(lines) else ""
    delimiter = delimiter or _delimiter(header)
    reader = csv.reader(iter(lines[first:]), delimiter=delimiter, skipinitialspace=True)
    entries = []
    try:
        columns = [name.strip() for name in next(reader, [])]
        for values in reader:
            if any(value.strip() for value in values):
                entry = zip(columns, values, strict=False)
                number = first + reader.line_num
                entries.append((number, {name: value.strip() for name, value in entry}))
    except csv.Error as error:
        raise UserError(f"{path}, line {first + reader.line_num}: {error}.") from error
    return columns, entries


def _delimiter(header: str) -> str:
    """The delimiter that makes most columns of the header, by default a comma."""
    try:
        return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))
    except csv.Error:  # a field that is too long; the reader of the table says so
        return ","


def _json(path: Path, text: str) -> Iterator[tuple[int, Entry]]:
    """Entries by line number, of JSON lines or of one array of objects."""
    if text.lstrip().startswith("["):
        for number, entry in enumerate(_parsed(path, 1, text), 1):
            yield number, _object(path, number, entry)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _object(path, number, _parsed(path, number, line))


def _parsed(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not JSON: {error}.") from error


def _object(path: Path, number: int, entry: Any) -> Entry:
    if not isinstance(entry, dict):
        raise UserError(f"{path}, line {number} is not a JSON object.")
    return entry


def _row(path: Path, number: int, entry: Entry, encoding: str) -> Row:
    """One row; what is wrong with it is its fault."""
    faults: list[str] = []
    name = entry.get("path")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        faults.append("names no recording")
        name = ""
    try:
        start, end = _seconds(entry.get("start")), _seconds(entry.get("end"))
    except (TypeError, ValueError, OverflowError):
        start = end = None
        faults.append("has a start or end that is no number of seconds")
    label, group = _name(entry, "label", faults), _name(entry, "speaker", faults)
    return Row(
        str(_file(path.parent, name, encoding)) if name else "",
        utf8_text(name or f"{path.name}, row {number}"),
        label or None,
        group,
        start,
        end,
        faults[0] if faults else None,
    )


def _name(entry: Entry, key: str, faults: list[str]) -> str:
    """A label or speaker; "" where it is none."""
    value = entry.get(key)
    if value is None:
        return ""
    if isinstance(value, list | dict):
        faults.append(f"has a {'list' if isinstance(value, list) else 'table'} as {key}")
        return ""
    text = str(value).strip()
    if any(unicodedata.category(character) == "Cc" for character in text):
        faults.append(f"has a control character in its {key}")
        return ""
    return utf8_text(text)


def _file(folder: Path, name: str, encoding: str) -> Path:
    """The file that a manifest calls `name`.

    As it is written there, or else with the bytes of the manifest's encoding, composed or
    decomposed accents, or Windows' separators.
    """
    forms = [name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]
    forms += [form.replace("\\", "/") for form in forms]
    paths = []
    for form in dict.fromkeys(forms):
        try:
            paths.append(folder / local_path(form))
            if encoding != "utf-8":
                raw = form.encode(encoding)
                paths.append(folder / local_path(raw.decode("utf-8", "surrogateescape")))
        except UnicodeError:
            continue
    there = (path for path in paths if _is_there(path))
    return next(there, paths[0] if paths else folder / utf8_text(name))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _seconds(value: Any) -> float | None:
    if value in (None, ""):
        return None
    # A decimal comma comes from spreadsheets of the countries that have one.
    seconds = float(value.replace(",", ".") if isinstance(value, str) else value)
    if not 0 <= seconds < 1e7:
        raise ValueError(value)
    return seconds
