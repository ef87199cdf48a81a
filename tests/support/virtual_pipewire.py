"""A virtual microphone on PipeWire, WirePlumber and pipewire-pulse.

The servers and their session bus are private to the test: sockets, state and settings lie in a
temporary folder. Debian does not install pipewire-alsa beside pulseaudio, so `make test` unpacks it
into the virtual environment.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support.virtual_mic import ASOUND, VirtualMic, missing_packages

PACKAGES = {
    "pipewire": "pipewire",
    "pw-metadata": "pipewire-bin",
    "pipewire-pulse": "pipewire-pulse",
    "wireplumber": "wireplumber",
    "dbus-daemon": "dbus-daemon",
}
# Nothing but the plugin, as on a machine without PulseAudio's.
PLUGIN_ASOUND = """pcm_type.pipewire { lib "%(library)s" }
pcm.pipewire { type pipewire server "pipewire-0" playback_node "-1" capture_node "-1" }
pcm.!default { type pipewire server "pipewire-0" playback_node "-1" capture_node "-1" }
"""


def missing_pipewire() -> list[str]:
    """Debian packages that `VirtualPipeWire` needs and this machine lacks."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    if alsa_plugin() is None:
        missing.add("pipewire-alsa")
    return sorted(missing | set(missing_packages()))


def alsa_plugin() -> Path | None:
    """PipeWire's plugin for ALSA, in the virtual environment or the system."""
    for folder in (Path(sys.prefix, "pipewire-alsa"), Path("/usr/lib"), Path("/usr/lib64")):
        found = next(folder.glob("**/libasound_module_pcm_pipewire.so"), None)
        if found is not None:
            return found
    return None


class VirtualPipeWire(VirtualMic):
    """`with VirtualPipeWire() as mic:` the same source `vmic`.

    plugin: programs reach the server by PipeWire's own ALSA plugin, not by PulseAudio's.
    """

    def __init__(self, channels: int = 1, *, plugin: bool = False) -> None:
        super().__init__(channels)
        runtime = self._folder / "run"
        for folder in (runtime, runtime / "pulse"):
            folder.mkdir(mode=0o700)
        self._own |= {
            "PIPEWIRE_RUNTIME_DIR": str(runtime),
            "PULSE_RUNTIME_PATH": str(runtime / "pulse"),
            "PULSE_SERVER": f"unix:{runtime}/pulse/native",
        }
        # Programs under test have folders of their own here.
        self._server_env = self.env | {
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_STATE_HOME": str(self._folder / "state"),
            "XDG_CONFIG_HOME": str(self._folder / "config"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
        }
        asound = ASOUND
        if plugin:
            asound = PLUGIN_ASOUND % {"library": alsa_plugin()}
        (self._folder / "asound.conf").write_text(asound)
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the servers, after `kill` again; returns once they answer."""
        runtime = Path(self._own["PIPEWIRE_RUNTIME_DIR"])
        for socket in (runtime / "bus", runtime / "pipewire-0", runtime / "pulse" / "native"):
            socket.unlink(missing_ok=True)
        self._launch("dbus-daemon", "--session", "--nofork", f"--address=unix:path={runtime}/bus")
        self._launch("pipewire")
        self._wait_until((runtime / "pipewire-0").exists)
        self._launch("wireplumber")
        self._launch("pipewire-pulse")
        self._wait_until((runtime / "pulse" / "native").exists)
        self._load(
            "module-null-sink",
            "sink_name=vmic_sink",
            *self._source_channels(),
            "sink_properties=device.description=VirtualSpeaker",
        )
        self.restore_source()
        self._wait_until(lambda: "vmic" in self._sources())

    def kill(self) -> None:
        """kill -9, as when the servers crash."""
        for server in self._servers.values():
            server.kill()
        for server in self._servers.values():
            server.wait()
        self._servers.clear()

    def freeze(self, *servers: str) -> None:
        """SIGSTOP: the servers (all, if none is named) are there and do nothing."""
        for name in servers or self._servers:
            self._servers[name].send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT, after `freeze`."""
        for server in self._servers.values():
            server.send_signal(signal.SIGCONT)

    def set_quantum(self, frames: int) -> None:
        """Have the graph run in cycles of so many frames at 48 kHz."""
        subprocess.run(
            ["pw-metadata", "-n", "settings", "0", "clock.force-quantum", str(frames)],
            env=self._server_env,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=10,
        )

    def _unmixed(self) -> list[str]:
        """Channels by name: PipeWire mixes in spite of `--no-remap`."""
        return [f"--channel-map={self._channel_map()}"] if self._channels > 1 else []

    def _source_channels(self) -> list[str]:
        """Two are what PipeWire makes by itself."""
        return [f"channels={self._channels}", f"channel_map={self._channel_map()}"]

    def _channel_map(self) -> str:
        return ",".join(f"aux{n}" for n in range(self._channels)) if self._channels > 1 else "mono"

    def _launch(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._servers[name] = subprocess.Popen(
                [name, *arguments],
                env=self._server_env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not done():
            if time.monotonic() > deadline:
                logs = [f"{log.name}: {log.read_text()}" for log in self._folder.glob("*.log")]
                raise RuntimeError("\n".join(["PipeWire did not start", *logs]))
            time.sleep(0.05)
