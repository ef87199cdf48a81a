"""The user's systemd: writes and removes our unit, and runs systemctl."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from daemon.base.errors import UserError, os_reason
from daemon.service.unit import NAME, Unit


@dataclass(frozen=True, slots=True)
class Answer:
    """Output of `systemctl --user`. `ok`: its exit status was 0."""

    ok: bool
    text: str


def unit_path() -> Path:
    """Path of a user's unit (systemd.unit(5), "User Unit Search Path")."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if config.startswith("/") else Path.home() / ".config"
    return base / "systemd" / "user" / NAME


def write_unit(unit: Unit) -> bool:
    """Write the unit; return whether anything has changed.

    Raises: UserError if it can't be written.
    """
    path = unit_path()
    try:
        text = unit.text()
    except ValueError as error:
        raise UserError(
            f"the service can't be installed, {error}: move or rename that file"
        ) from None
    try:
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({os_reason(error)}); change the owner of its folder"
        ) from None
    return True


def remove_unit() -> bool:
    """Remove the unit; return whether there was one.

    Raises: UserError if it can't be removed.
    """
    path = unit_path()
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(
            f"{path} can't be removed ({os_reason(error)}); change the owner of its folder"
        ) from None
    return True


def systemctl(*arguments: str) -> Answer | None:
    """Ask the user's service manager; None if there is none to be asked."""
    if shutil.which("systemctl") is None:
        return None
    try:
        done = subprocess.run(
            ["systemctl", "--user", "--no-pager", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = (done.stdout.strip() or done.stderr.strip()).strip()
    # "Failed to connect to bus", since systemd 256 "to user scope bus via local transport"
    if re.search(r"connect to .*\bbus\b|booted with systemd", text):
        return None
    return Answer(done.returncode == 0, text)
