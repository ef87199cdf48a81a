"""A microphone without hardware: a private PulseAudio server.

A source records its null sink: what `play` puts into the sink comes out of PortAudio in real time.
The server can be killed, frozen and started again, and sources can go and come, as a user's do.
Programs use it when they are started with `env`; a process that has initialised PortAudio before
cannot. Debian packages: libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

ASOUND = """</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
# Without norewinds the null sink delivers nothing for 1.8 s after a recorder connects.
SERVER = """load-module module-native-protocol-unix auth-anonymous=1
load-module module-null-sink sink_name=vmic_sink rate=48000 channels=1 norewinds=1 \
sink_properties=device.description=VirtualSpeaker
load-module module-remap-source master=vmic_sink.monitor source_name=vmic \
source_properties=device.description=VirtualMic
set-default-sink vmic_sink
set-default-source vmic
"""
PACKAGES = {
    "pulseaudio": "pulseaudio",
    "pactl": "pulseaudio-utils",
    "paplay": "pulseaudio-utils",
}


def missing_packages() -> list[str]:
    """Debian packages that a virtual microphone needs and this machine lacks."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    if ctypes.util.find_library("portaudio") is None:
        missing.add("libportaudio2")
    plugins = ("/usr/lib", "/usr/lib64")
    if not any(next(Path(p).glob("**/libasound_module_pcm_pulse.so"), None) for p in plugins):
        missing.add("libasound2-plugins")
    return sorted(missing)


class VirtualMic:
    """`with VirtualMic() as mic:` a server with a source `vmic`.

    Its description is "VirtualMic".
    """

    def __init__(self, channels: int = 1) -> None:
        self._channels = channels
        self._folder = Path(tempfile.mkdtemp(prefix="vmic."))
        runtime, state = self._folder / "pulse", self._folder / "state"
        for folder in (runtime, state):
            folder.mkdir(mode=0o700)
        self._own = {
            "PULSE_RUNTIME_PATH": str(runtime),
            "PULSE_STATE_PATH": str(state),
            "PULSE_COOKIE": str(self._folder / "cookie"),
            "PULSE_SERVER": f"unix:{runtime}/native",
            "ALSA_CONFIG_PATH": str(self._folder / "asound.conf"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "DBUS_SYSTEM_BUS_ADDRESS": "disabled:",
        }
        (self._folder / "asound.conf").write_text(ASOUND)
        server = SERVER.replace("channels=1 norewinds", f"channels={channels} norewinds")
        (self._folder / "vm.pa").write_text(server)
        self._server: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []

    @property
    def env(self) -> dict[str, str]:
        """The environment in which a program hears this microphone."""
        inherited = {k: v for k, v in os.environ.items() if k not in ("PULSE_SOURCE", "PULSE_SINK")}
        return inherited | self._own

    def start(self) -> None:
        """Start the server, after `kill` again; returns once it answers."""
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "-F", str(self._folder / "vm.pa"), "--daemonize=no"),
                *("--exit-idle-time=-1", "--use-pid-file=yes", "--disallow-exit"),
                *("--realtime=no", "--high-priority=no"),
                f"--log-target=file:{self._folder / 'pulse.log'}",
            ],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # When a shell ends the kernel wakes stopped processes of its groups (SIGCONT).
            start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while "vmic" not in self._sources():
            if time.monotonic() > deadline or self._server.poll() is not None:
                log = self._folder / "pulse.log"
                raise RuntimeError(log.read_text() if log.exists() else "pulseaudio did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and everything that plays, and remove its files."""
        for player in self._players:
            player.kill()
            player.wait()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def play(self, path: Path | str) -> subprocess.Popen[bytes]:
        """Start to play a recording into the microphone; `wait()` waits."""
        player = subprocess.Popen(
            ["paplay", *self._unmixed(), "--device=vmic_sink", str(path)], env=self.env
        )
        self._players.append(player)
        return player

    def kill(self) -> None:
        """kill -9, as when the server crashes."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def freeze(self) -> None:
        """SIGSTOP: the server is there and does nothing."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT, after `freeze`."""
        self._signal(signal.SIGCONT)

    def add_source(self, name: str, description: str) -> None:
        """One more microphone, a silent one."""
        self._load(
            "module-null-sink",
            f"sink_name={name}_sink",
            *("rate=48000", "channels=1", "norewinds=1"),
        )
        self._load(
            "module-remap-source",
            f"master={name}_sink.monitor",
            f"source_name={name}",
            "channel_map=mono",
            f"source_properties=device.description={description}",
        )

    def restore_source(self) -> None:
        """Bring the source `vmic` back after `remove_source`."""
        self._load(
            "module-remap-source",
            "master=vmic_sink.monitor",
            "source_name=vmic",
            *self._source_channels(),
            "remix=no",  # PipeWire 1.4 fills two channels only with it
            "source_properties=device.description=VirtualMic",
        )
        deadline = time.monotonic() + 5
        while True:
            try:
                self.pactl("set-default-source", "vmic")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # PipeWire's session manager is not ready yet
            else:
                return

    def remove_source(self, name: str = "vmic") -> None:
        """Unplug one source; the server stays."""
        for line in self.pactl("list", "short", "modules").splitlines():
            index, module, arguments = [*line.split("\t"), "", ""][:3]
            if module == "module-remap-source" and f"source_name={name} " in arguments + " ":
                self.pactl("unload-module", index)
                return
        raise LookupError(name)

    def _unmixed(self) -> list[str]:
        """Channels by their number, not by names that a WAV file does not have."""
        return ["--no-remap"]

    def _source_channels(self) -> list[str]:
        """The source's channels; several are those of the sink, by the same names."""
        return ["channel_map=mono"] if self._channels == 1 else []

    def pactl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pactl", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout

    def _load(self, module: str, *arguments: str) -> None:
        self.pactl("load-module", module, *arguments)

    def _sources(self) -> list[str]:
        try:
            lines = self.pactl("list", "short", "sources").splitlines()
        except subprocess.CalledProcessError:
            return []
        return [line.split("\t")[1] for line in lines]

    def _signal(self, number: int) -> None:
        if self._server is None:
            raise RuntimeError("the server is not running")
        self._server.send_signal(number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
