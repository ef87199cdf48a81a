"""Text of the systemd user unit. Pure: no files are read or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "intentd.service"


@dataclass(frozen=True, slots=True)
class Unit:
    """Parameters of a unit. Paths are absolute."""

    command: tuple[str, ...]
    """The program and its arguments."""
    writes: tuple[Path, ...] = ()
    """Folders that the outputs and their commands write to."""
    families: tuple[str, ...] = ()
    """Address families that the model or an output needs beside Unix sockets."""
    sandbox: bool = True
    """Hide the file system. It takes unprivileged user namespaces, which some kernels refuse."""
    watchdog: float = 30.0
    """Seconds after which systemd restarts intentd if no sound was processed, and no microphone
    that is away was looked for."""

    def text(self) -> str:
        lines = [
            "# Written by `intentd service install`, which overwrites it; changes that are to stay",
            "# go into `systemctl --user edit intentd`.",
            "[Unit]",
            "Description=intentd, spoken intents in live sound",
            "After=pipewire.service pipewire-pulse.service pulseaudio.service",
            "# It is tried for ever: a microphone may come back after any time.",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join(map(quoted, self.command))}",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "Restart=always",
            "RestartSec=1",
            "# Wrong settings or a missing model do not mend themselves.",
            "RestartPreventExitStatus=2",
            f"WatchdogSec={self.watchdog:g}",
            "TimeoutStartSec=120",
            "TimeoutStopSec=5",
            "SyslogIdentifier=intentd",
            "WorkingDirectory=%h",
            "RuntimeDirectory=intentd",
            "RuntimeDirectoryMode=0700",
            "RuntimeDirectoryPreserve=yes",
            "UMask=0077",
            "",
            "NoNewPrivileges=yes",
            f"RestrictAddressFamilies={' '.join(('AF_UNIX', *self.families))}",
            "RestrictNamespaces=yes",
            "RestrictSUIDSGID=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            "SystemCallErrorNumber=EPERM",
            *self._sandbox(),
            "",
            "[Install]",
            "WantedBy=default.target",
        ]
        return "\n".join(lines) + "\n"

    def _sandbox(self) -> list[str]:
        if not self.sandbox:
            return []
        return [
            "",
            "# A user's service manager can do what follows only in a user namespace of its own",
            "# (PrivateUsers). Where the kernel refuses those, the service ends with",
            "# 226/NAMESPACE; `intentd service install --no-sandbox` leaves it out.",
            "PrivateUsers=yes",
            "ProtectSystem=strict",
            "ProtectHome=read-only",
            # /tmp stays shared: PulseAudio's and PipeWire's sockets may lie there, and other
            # users can't reach what is ours. PrivateDevices would take the sound cards away, and
            # MemoryDenyWriteExecute the compiled kernels of the model's runtime.
            "ProtectKernelTunables=yes",
            "ProtectControlGroups=yes",
            *(f"ReadWritePaths=-{quoted(str(path))}" for path in self.writes),
        ]


def quoted(argument: str) -> str:
    """An argument as one word of a unit file (systemd.syntax(7), "Quoting").

    Specifiers and variables are no more than text.

    Raises: ValueError for characters that no unit can hold.
    """
    if any(character in argument for character in "\0\n\r"):
        raise ValueError("a unit file cannot hold a line break")
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = text.replace("/", "").replace(".", "").replace("-", "").replace("_", "")
    return text if plain.isalnum() and text.isascii() else f'"{text}"'


def command_line(
    program: Sequence[str], arguments: Sequence[str], command: str = "live"
) -> tuple[str, ...]:
    """Command line of `live` or `serve` as a service.

    Without a screen, and waiting for its microphone.
    """
    wanted = ["--headless", "--wait-for-device"] if command == "live" else ["--headless"]
    extra = [flag for flag in wanted if flag not in arguments]
    return (*program, command, *extra, *arguments)
