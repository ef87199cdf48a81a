"""`intentd service install|uninstall|status`: a systemd user service.

It listens from login on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from daemon.assembly.setup import note
from daemon.base.errors import UserError
from daemon.base.network import IP_FAMILIES, address_families
from daemon.base.text import screen_text
from daemon.config import Settings, Sources, load_settings
from daemon.output.registry import OUTPUTS, network_families
from daemon.serve.address import DEFAULT, Address, parse_address
from daemon.service.systemd import remove_unit, systemctl, unit_path, write_unit
from daemon.service.unit import NAME, Unit, command_line

NO_MANAGER = (
    "systemd does not run for this user here; from a login with systemd, "
    "systemctl --user enable --now intentd starts it"
)


def install(
    arguments: Sequence[str],
    sources: Sources,
    log_file: Path | None,
    *,
    command: str = "live",
    sandbox: bool,
    network: bool,
    write: Sequence[Path] = (),
) -> int:
    """Write the unit for `command` with `arguments`, and start it.

    Settings are checked first.

    Args:
        sandbox: hide the file system.
        network: let commands use the network.
        write: folders that commands may write to.

    Raises:
        UserError: settings are wrong, or the unit can't be written.
    """
    _only_linux()
    loaded = load_settings(sources)
    for warning in loaded.warnings():
        note(warning)
    settings = loaded.settings
    pinned = list(arguments)
    if loaded.file is not None and "--config" not in pinned:
        pinned = ["--config", str(Path(loaded.file).resolve()), *pinned]
    addresses = [parse_address(text) for text in settings.serve.listen]
    if command == "serve" and not addresses:
        addresses = [parse_address(DEFAULT)]
    unit = Unit(
        command_line(program(), pinned, command),
        writes=(
            *written(settings, log_file),
            *(_existing(path, "--write") for path in write),
            *caches(settings.model.path),
        ),
        families=_families(settings, addresses, network=network),
        sandbox=sandbox,
    )
    changed = write_unit(unit)
    print(f"{'wrote' if changed else 'unchanged:'} {screen_text(str(unit_path()))}", flush=True)
    if systemctl("daemon-reload") is None:
        note(NO_MANAGER)
        return 0
    for verb in (("enable", NAME), ("restart", NAME)):
        answer = systemctl(*verb)
        if answer is None or not answer.ok:
            reason = "" if answer is None else f": {screen_text(answer.text)}"
            note(
                f"systemctl --user {verb[0]} {NAME} failed{reason}; journalctl --user -u {NAME} "
                "says why"
            )
            return 1
    print("started; it starts again with each login (loginctl enable-linger: with the machine)")
    return 0


def uninstall() -> int:
    """Stop the service and remove the unit; without one nothing is done."""
    _only_linux()
    systemctl("disable", "--now", NAME)
    removed = remove_unit()
    systemctl("daemon-reload")
    path = screen_text(str(unit_path()))
    print(f"removed {path}" if removed else f"there is no {path}", flush=True)
    return 0


def status() -> int:
    """Report the service; return 0 if it runs, 1 if not, 2 without one."""
    _only_linux()
    path = unit_path()
    if not path.exists():
        print(f"not installed: there is no {screen_text(str(path))}")
        return 2
    print(f"installed: {screen_text(str(path))}")
    wanted = ("ActiveState", "SubState", "StatusText", "NRestarts", "MainPID", "Result")
    answer = systemctl("show", NAME, f"--property={','.join(wanted)}")
    if answer is None:
        note(NO_MANAGER)
        return 1
    found = dict(line.split("=", 1) for line in answer.text.splitlines() if "=" in line)
    for key in wanted:
        if found.get(key):
            print(f"{key}: {screen_text(found[key])}")
    return 0 if found.get("ActiveState") == "active" else 1


def program() -> tuple[str, ...]:
    """The command by which systemd calls this very installation."""
    script = Path(sys.executable).with_name("intentd")
    if script.is_file() and os.access(script, os.X_OK):
        return (str(script),)
    # -P: a folder named daemon in the working directory is not ours.
    return (sys.executable, "-P", "-m", "daemon")


def written(settings: Settings, log_file: Path | None = None) -> tuple[Path, ...]:
    """Folders that a service with these settings writes to.

    A file that is rotated is created again, so that its folder has to be writable.

    Raises: UserError if one does not exist, since systemd can't open a way to it then.
    """
    files = [(kind.name, kind.file(settings)) for kind in OUTPUTS] + [("the log", log_file)]
    files += [
        ("the socket", Path(address.path))
        for address in map(parse_address, settings.serve.listen)
        if address.scheme == "unix"
    ]
    folders = []
    for name, file in files:
        if file is None:
            continue
        folders.append(_existing(file.parent, name))
    return tuple(folders)


def _existing(folder: Path, name: str) -> Path:
    """`folder`, absolute. Raises `UserError` if it does not exist."""
    path = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - no links
    if not path.is_dir():
        raise UserError(f"there is no folder {path} for {name}; make it first")
    return path


def caches(model: str) -> tuple[Path, ...]:
    """Folders that keep what a start has made; created if missing.

    That is converted models, and those fetched from the hub.
    """
    from platformdirs import user_cache_path

    folders = [user_cache_path("intentd", appauthor=False)]
    if fetches(model):
        home = os.environ.get("HF_HOME") or user_cache_path("huggingface", appauthor=False)
        folders.append(Path(home).expanduser().absolute())
    for folder in folders:
        with contextlib.suppress(OSError):  # without a cache a start takes longer, no more
            folder.mkdir(parents=True, exist_ok=True)
    return tuple(folders)


def fetches(model: str) -> bool:
    """Whether the hub may have to be asked for a model of this name."""
    return model not in ("", "bundled") and not Path(model).expanduser().exists()


def _families(
    settings: Settings, addresses: Sequence[Address], *, network: bool
) -> tuple[str, ...]:
    """Address families that the service needs beside Unix sockets."""
    if network or fetches(settings.model.path):
        return IP_FAMILIES
    found = list(network_families(settings))
    for address in addresses:
        found += address_families(address.host) if address.scheme != "unix" else ()
    return tuple(dict.fromkeys(found))


def _only_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise UserError(
            "services are installed under systemd, which is Linux's; docs/service.md shows the "
            "same for launchd on macOS"
        )
