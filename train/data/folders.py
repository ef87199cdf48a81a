"""A folder of recordings: links followed, hidden folders skipped.

Folders train/ and test/ are known as parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from daemon.base.errors import os_reason
from daemon.base.text import name_text
from train.data.rows import Row
from train.data.split import PART_NAMES, PARTS, Part, parts_by_name
from train.recipe import DataSection

SYSTEM_FOLDERS = {
    "__macosx",
    "__pycache__",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "#recycle",
}
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Tree:
    """Files and folders below a root, as paths relative to it."""

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    passed: list[tuple[Path, str]] = field(default_factory=list)
    """What was passed over, with the reason."""


def folder_rows(root: Path, section: DataSection, note: Callable[[str], None]) -> Iterator[Row]:
    """Every file below `root`, sorted by path, then what was passed over.

    A label is the name of the first folder below `root`; where those are all parts of a split
    (train, test, …), of the second. `note` is called with sentences about the source.
    """
    tree = _walk(root)
    files = [file for file in sorted(tree.files) if file.name not in section.exclude]
    layout = _layout(files, section, note)
    depth = 1 if layout else 0
    for file in files:
        parents = file.parts[:-1]
        label = name_text(parents[depth]) if len(parents) > depth else None
        parts = layout[parents[0]] if layout and parents else PARTS
        yield Row(str(root / file), name_text(file), label, "", parts=parts)
    if section.label is None:
        used = {file.parts[: depth + 1] for file in files if len(file.parts) > depth + 1}
        empty = [f for f in tree.folders if len(f.parts) == depth + 1 and f.parts not in used]
        if empty:
            note(f"{section.path}: no recording in the label {_named(empty)}")
    for path, reason in tree.passed:
        yield Row("", name_text(path), None, "", fault=reason, recording=False)


def _walk(root: Path) -> _Tree:
    tree = _Tree()
    home = _identity(root)

    def visit(folder: Path, seen: set[tuple[int, int]]) -> None:
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            tree.passed.append((folder, f"cannot be opened ({os_reason(error)})"))
            return
        for entry in entries:
            path = folder / entry.name
            is_folder = _is_folder(entry)
            reason = _reason_to_pass(entry.name, is_folder)
            if reason is not None:
                tree.passed.append((path, reason + (_count(root / path) if is_folder else "")))
            elif not is_folder:
                tree.files.append(path)
            else:
                # A folder is read once below each label: links that lead back come to an end.
                known = seen if folder.parts else {home}
                identity = _identity(root / path)
                if identity in known:
                    tree.passed.append((path, "is a link to a folder that is read already"))
                    continue
                known.add(identity)
                tree.folders.append(path)
                visit(path, known)

    visit(Path(), {home})
    return tree


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _reason_to_pass(name: str, is_folder: bool) -> str | None:
    if name.startswith("."):
        return f"is a hidden {'folder' if is_folder else 'file'}"
    if is_folder and (name.lower() in SYSTEM_FOLDERS or name.lower().startswith("found.0")):
        return "is a folder of the system"
    if not is_folder and name.lower() in SYSTEM_FILES:
        return "is a file of the system"
    return None


def _count(folder: Path) -> str:
    files = sum(len(names) for _, _, names in os.walk(folder))
    return f" with {files} {'file' if files == 1 else 'files'}"


def _layout(
    files: list[Path], section: DataSection, note: Callable[[str], None]
) -> dict[str, tuple[Part, ...]]:
    """Folders that are parts of the split, each with its possible parts.

    None if the first folders are labels.
    """
    first = sorted({file.parts[0] for file in files if len(file.parts) > 1})
    named = [name for name in first if name.lower() in PART_NAMES]
    if not named:
        return {}
    folders = " and ".join(named) if len(named) < 3 else ", ".join(named)
    labels_below = any(len(file.parts) > 2 for file in files if file.parts[0] in named)
    if len(named) < len(first) or not (labels_below or section.label is not None):
        if len(named) > 1:
            note(
                f"{section.path}: the folders {folders} are taken for labels; for parts of the "
                "split they must hold a folder for each label, with nothing else beside them"
            )
        return {}
    own = parts_by_name(named)
    if len({parts[0] for parts in own.values()}) > 1:
        note(f"{section.path}: the folders {folders} are taken as parts of the split")
    return own


def _named(folders: list[Path]) -> str:
    names = [name_text(folder) for folder in sorted(folders)]
    if len(names) == 1:
        return f"folder {names[0]}"
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"folders {shown}" + (f" and {more} more" if more > 0 else "")
