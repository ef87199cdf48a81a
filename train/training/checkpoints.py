"""Checkpoints that survive power cuts; models that are saved whole.

They survive full disks as well.

The last file that a checkpoint gets is its seal: the seconds that training has taken, and size and
CRC-32 of every other file. Before it is written, the others are synced to the disk. A checkpoint
without a seal was cut short; one whose files are not as the seal says is damaged.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import safetensors
from safetensors import SafetensorError

from daemon.base.errors import os_reason
from daemon.base.text_files import sync_files, sync_folder, write_text
from train.distributed import main_process, wait_for_all

log = logging.getLogger(__name__)

SEAL = "whole"
WEIGHTS = "model.safetensors"
_BLOCK = 1 << 20


def seal(checkpoint: Path, seconds: float) -> None:
    """Sync the files of a checkpoint and write its seal.

    Raises: OSError on a full disk.
    """
    sync_files(checkpoint)
    lines = [f"{seconds:.1f}"]
    for file in sorted(checkpoint.iterdir()):
        if file.is_file() and file.name != SEAL:
            lines.append(f"{_crc(file):08x} {file.stat().st_size} {file.name}")
    write_text(checkpoint / SEAL, "\n".join(lines) + "\n")
    sync_folder(checkpoint.parent)
    log.info("sealed %s", checkpoint)


def damage(checkpoint: Path) -> str:
    """The damage to a sealed checkpoint, as "FILE is …"; "" for none."""
    try:
        lines = (checkpoint / SEAL).read_text(encoding="utf-8").splitlines()
        sums = [line.split(" ", 2) for line in lines[1:]]
        if sums:
            found = (_against_sum(checkpoint / name, int(size), crc) for crc, size, name in sums)
        else:  # made before seals held sums
            found = (_structure(file) for file in sorted(checkpoint.iterdir()))
        return next(filter(None, found), "")
    except OSError as error:
        return f"it can't be read ({os_reason(error)})"
    except ValueError:
        return f"its file {SEAL} is damaged"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest sealed checkpoint in `folder`; None if there is none."""
    return max(_sealed(folder), key=_step, default=None)


def checked_checkpoint(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint in `folder` that is whole; None if there is none.

    Damaged ones are renamed to damaged-STEP, and `say` is called with a sentence. The same in all
    processes that train together.
    """
    if main_process():
        newest = last_checkpoint(folder)
        for checkpoint in sorted(_sealed(folder), key=_step, reverse=True):
            wrong = damage(checkpoint)
            log.info("%s: %s", checkpoint, wrong or "whole")
            if not wrong:
                if checkpoint != newest:
                    say(f"Training goes on from {checkpoint.name}.")
                break
            aside = folder / f"damaged-{_step(checkpoint)}"
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
            say(f"{checkpoint.name} is passed over, since {wrong}; it is kept as {aside.name}.")
        else:
            say("There is no whole checkpoint: training starts from the beginning.")
    wait_for_all()
    return last_checkpoint(folder)


def discard_unsealed(folder: Path) -> None:
    """Remove checkpoints that were cut short, to give their space back."""
    sealed = set(_sealed(folder))
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in sealed:
            shutil.rmtree(checkpoint, ignore_errors=True)


def seconds_of(checkpoint: Path) -> float:
    """Seconds that training had taken by then, as its seal says."""
    try:
        return float((checkpoint / SEAL).read_text(encoding="utf-8").split()[0])
    except (IndexError, ValueError):
        return 0.0


def save_whole(save: Callable[[str], None], folder: Path) -> None:
    """Let `save` write a model such that its weights appear in `folder` whole.

    They appear last, after all is on the disk. `save` is called with a folder to write to.
    """
    draft = folder / ".saving"
    if not main_process():  # it only trains along
        save(str(draft))
        return
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        save(str(draft))
        readable(draft)
        sync_files(draft)
        for file in sorted(draft.iterdir(), key=lambda file: (file.name == WEIGHTS, file.name)):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(folder)


def readable(folder: Path) -> None:
    """Let others read the weights in a folder, as the umask allows.

    safetensors writes for the owner alone, and a service may run as another user.
    """
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o666 & ~mask)


def _sealed(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.glob("checkpoint-*")
        if (path / SEAL).is_file() and path.name.split("-")[-1].isdigit()
    ]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[-1])


def _crc(file: Path) -> int:
    value = 0
    with file.open("rb") as content:
        while block := content.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value


def _against_sum(file: Path, size: int, crc: str) -> str:
    """Difference of a file from its size and CRC-32, as "FILE is …"; or ""."""
    if not file.is_file():
        return f"{file.name} is missing"
    if (there := file.stat().st_size) != size:
        return f"{file.name} is {'cut short' if there else 'empty'}"
    return "" if _crc(file) == int(crc, 16) else f"{file.name} is damaged"


def _structure(file: Path) -> str:
    """Damage that shows in a file's structure, as "FILE is …"; "" for none."""
    try:
        if file.name == SEAL or file.is_dir():
            return ""
        if not file.stat().st_size:
            return f"{file.name} is empty"
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        elif file.suffix == ".safetensors":
            with safetensors.safe_open(str(file), "numpy"):
                pass
        elif file.suffix in {".pt", ".pth", ".bin"}:  # torch writes zip files with sums
            with zipfile.ZipFile(file) as archive:
                archive.testzip()
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile, zlib.error):
        return f"{file.name} is damaged"
    return ""
