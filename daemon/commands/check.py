"""`intentd check`: tries all that listening needs, and names the fixes."""

from __future__ import annotations

import errno
import importlib.metadata
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import daemon
from daemon.assembly.effect import without_effect
from daemon.assembly.setup import (
    Setup,
    load_gates,
    load_model,
    model_layer,
    read_info,
    read_verifier_info,
)
from daemon.base.errors import UserError, os_reason, whole_message
from daemon.base.text import screen_text
from daemon.base.trial import Outcome
from daemon.capture.ring import Chunk
from daemon.commands.check_reach import reach_trials
from daemon.config import Settings, Sources, load_settings
from daemon.messages import Status, StreamInfo
from daemon.model.verifier.description import VerifierInfo
from daemon.output.registry import OUTPUTS
from daemon.stream.settings import StreamSettings
from daemon.stream.sound_monitor import DEAF_DB
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings

LISTEN_SECONDS = 2.0
TIMED_WINDOWS = 9
SLOW_VERIFIER = 0.1
"""Seconds that a verifier may delay an event."""
MOST_LOST = 0.05
"""Part of the sound that may be lost while the microphone is tried."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one trial. `fix` is empty if nothing needs to be done."""

    name: str
    ok: bool
    text: str
    fix: str = ""


def run(sources: Sources) -> int:
    """Print a line a trial, a second one for the fix; status 1 if any failed."""
    failed = False
    for finding in trials(sources):
        failed |= not finding.ok
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {screen_text(finding.text)}")
        if finding.fix:
            print(f"      {'note' if finding.ok else 'fix'}: {screen_text(finding.fix)}")
        sys.stdout.flush()
    return 1 if failed else 0


def trials(sources: Sources) -> Iterator[Finding]:
    """Findings, one after the other, as they come.

    Raises: UserError for settings that are wrong, since nothing can be tried without any.
    """
    settings = load_settings(sources).settings
    yield _attempt("packages", foreign_packages)
    setup: list[Setup] = []
    yield _attempt("settings", lambda: _settings(sources, setup))
    yield _attempt("model", lambda: _model(setup))
    if setup and (verifier := setup[0].verifier) is not None:
        yield _attempt("verifier", lambda: verifier_works(verifier))
    yield _attempt("speech gate", lambda: gate_works(setup[0].settings if setup else settings))
    for name, (folder, key) in folders(settings).items():
        yield _attempt(name, lambda folder=folder, key=key: writable(folder, key))  # type: ignore[misc]
    yield _attempt("cache folder", cache_writable)
    for name, trial in reach_trials(settings):
        yield _attempt(name, trial)
    yield _attempt("PortAudio", _portaudio)
    yield _attempt("inputs", _inputs)
    yield _attempt("sound server", _server)
    yield _attempt("microphone", lambda: listen(settings))


def _attempt(name: str, trial: Callable[[], Outcome]) -> Finding:
    """A trial's finding; an error is a finding too."""
    try:
        ok, text, fix = trial()
    except UserError as error:
        return Finding(name, False, str(error))
    except Exception as error:
        text = f"{type(error).__name__}: {whole_message(error)}"
        return Finding(name, False, text, "this is a defect; please report it")
    return Finding(name, ok, text, fix)


# ---- the installation ---------------------------------------------------------------------------


def foreign_packages(path: list[str] | None = None) -> Outcome:
    """Whether another package named `daemon` or `train` is in the way.

    python-daemon is one. It hides our files or mixes with them.
    """
    ours = Path(daemon.__file__).resolve().parent.parent
    strangers = []
    for entry in sys.path if path is None else path:
        folder = Path(entry or ".").resolve()
        if folder == ours:
            continue
        for name in ("daemon", "train"):
            for candidate in (folder / name / "__init__.py", folder / f"{name}.py"):
                if candidate.is_file():
                    strangers.append(candidate)
    if path is None:
        owners = importlib.metadata.packages_distributions()
        mixed = {d for name in ("daemon", "train") for d in owners.get(name, [])} - {"intentd"}
        strangers += [Path(distribution) for distribution in sorted(mixed)]
    if strangers:
        return (
            False,
            f"another package has the name of one of ours: {', '.join(map(str, strangers))}",
            "install intentd in its own environment, for example with pipx",
        )
    return True, f"intentd {daemon.__version__} in {ours}", ""


def _settings(sources: Sources, setup: list[Setup]) -> Outcome:
    loaded = load_settings(sources, model=model_layer)
    info = read_info(loaded.settings.model)
    loaded.check_labels(info.labels)
    info.window_samples(loaded.settings.window.seconds)
    verifier = read_verifier_info(loaded.settings.model, info)
    setup.append(Setup(loaded.settings, info, verifier))
    warnings = loaded.warnings(without_effect(loaded, info))
    return True, loaded.file or "no file, so the defaults", "; ".join(warnings)


def _model(setup: list[Setup]) -> Outcome:
    """Load the model and time it on a stream's windows against the hop.

    They go one by one. The note tells why its backend was chosen.
    """
    if not setup:
        return False, "not tried, since the settings or the model can't be read", ""
    from daemon.base.audio import RATE
    from daemon.model.probe import following_windows

    begun = time.perf_counter()
    classifier = load_model(setup[0])
    took = time.perf_counter() - begun
    hop = setup[0].settings.window.hop
    times = []
    for window in following_windows(classifier.window, round(hop * RATE), TIMED_WINDOWS):
        begun = time.perf_counter()
        classifier.classify([window])
        times.append(time.perf_counter() - begun)
    median = sorted(times)[len(times) // 2]
    note = "" if classifier.choice is None else f"backend auto: {classifier.choice.text()}"
    text = (
        f"{setup[0].model_name}, {len(classifier.labels)} labels, {classifier.backend}, loaded in "
        f"{took:.1f} s, {1000 * median:.1f} ms a window"
    )
    if median >= hop:
        fix = f"a window comes every {1000 * hop:.0f} ms: use a smaller model, or a longer hop"
        return False, f"{text}, too slow", fix
    return True, f"{text}, {100 * median / hop:.0f} % of the time between two windows", note


def verifier_works(info: VerifierInfo) -> Outcome:
    """Load a verifier and time it on a second and a half of noise."""
    from daemon.model.verifier.filterbank import SOUND
    from daemon.model.verifier.verifier import Verifier

    verifier = Verifier(info, info.labels)
    noise = 0.01 * np.random.default_rng(0).standard_normal(SOUND, np.float32)
    times = []
    for _ in range(TIMED_WINDOWS):
        begun = time.perf_counter()
        verifier.posterior(noise)
        times.append(time.perf_counter() - begun)
    median = sorted(times)[len(times) // 2]
    text = f"{info.directory}, {1000 * median:.0f} ms for each candidate"
    if median > SLOW_VERIFIER:
        return False, f"{text}, too slow", 'set model.verifier = "off"'
    return True, text, ""


def gate_works(settings: Settings) -> Outcome:
    """Let the gate hear a second of silence, which must not be speech."""
    from daemon.base.audio import RATE

    bank = load_gates(settings)
    gate = bank.new_gate()
    if settings.gate.kind == "off":
        return True, "off: every window is classified", ""
    gate.feed(np.zeros(RATE, np.float32))
    begun = time.perf_counter()
    bank.run([gate])
    took = time.perf_counter() - begun
    text = f"{settings.gate.kind}, {1000 * took:.1f} ms for a second of sound"
    if gate.speaking:
        return False, f"{text}, takes silence for speech", "raise gate.on"
    return True, text, ""


def folders(settings: Settings) -> dict[str, tuple[Path, str]]:
    """Folders that a run may write to, with the setting of each, by purpose."""
    from daemon.base.stderr import log_path
    from daemon.health import places

    log = Path(settings.output.log).expanduser() if settings.output.log else log_path()
    found = {
        "log folder": (log.parent, "output.log"),
        "runtime folder": (places.folder(), "XDG_RUNTIME_DIR"),
    }
    for kind in OUTPUTS:
        file = kind.file(settings)
        if file is not None:
            found[f"folder for {kind.name}"] = (file.parent, kind.switch)
    return found


def writable(folder: Path, key: str) -> Outcome:
    """Whether a file can be made in `folder` or its nearest existing parent.

    `key` sets another folder.
    """
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        fix = f"set {key} to another place"
        if error.errno in {errno.EACCES, errno.EPERM}:
            fix = f"change its owner or its mode, or {fix}"
        return False, f"{folder} can't be written to: {os_reason(error)}", fix
    return True, f"{folder} can be written to", ""


def cache_writable() -> Outcome:
    """What a start has found out is kept there; a run does without."""
    from daemon.model.cache import directory

    ok, text, fix = writable(directory("graphs").parent, "XDG_CACHE_HOME")
    return True, text, "" if ok else f"each start takes some seconds longer so; {fix}"


# ---- sound --------------------------------------------------------------------------------------


def _portaudio() -> Outcome:
    from daemon.capture.microphone.devices import portaudio
    from daemon.capture.microphone.time_limit import with_time_limit

    version = str(with_time_limit(portaudio).get_portaudio_version()[1])
    return True, " ".join(version.split(",", maxsplit=1)[0].split()), ""


def _inputs() -> Outcome:
    from daemon.capture.microphone.devices import list_inputs
    from daemon.capture.microphone.time_limit import with_time_limit

    inputs = with_time_limit(list_inputs)
    if not inputs:
        return False, "none was found", "connect a microphone, or start the sound server"
    default = [device.name for device in inputs if device.is_default]
    text = f"{len(inputs)}, the default is {default[0]}" if default else f"{len(inputs)}"
    return True, text, "" if default else "no input is the default: set audio.device"


def _server() -> Outcome:
    """Whether the sound server can be asked.

    Only one that can tells when a stream silently moves to another source.
    """
    from daemon.capture.microphone.pulse import list_sources

    sources = list_sources()
    if sources is not None:
        return True, f"can be asked, and knows {len(sources)} sources", ""
    if not sys.platform.startswith("linux"):
        return True, "there is none to be asked on this system", ""
    return (
        True,
        "none can be asked",
        "only PulseAudio, and PipeWire with pipewire-pulse, let intentd notice when its stream is "
        "moved to another microphone",
    )


def listen(settings: Settings) -> Outcome:
    """Listen for two seconds: any sound, how loud, and does it vary."""
    from daemon.assembly.inputs import open_microphone
    from daemon.capture.wake import Wake

    wake = Wake()
    microphone = open_microphone(settings.audio, wake)
    microphone.start()
    chunks: list[Chunk] = []
    try:
        until = time.monotonic() + LISTEN_SECONDS
        while (left := until - time.monotonic()) > 0:
            wake.wait(left)
            while (chunk := microphone.ring.read(microphone.ring.capacity)) is not None:
                chunks.append(chunk)
    finally:
        microphone.stop()
    info = microphone.info
    mono = np.concatenate([np.zeros(0, np.float32), *(chunk.mono for chunk in chunks)])
    text = f"{info.name}, {info.rate} Hz, {len(mono) / info.rate:.1f} s in {LISTEN_SECONDS:g} s"
    lost = microphone.ring.never_arrived / max(1, microphone.ring.position)
    if lost > MOST_LOST:
        fix = (
            "close what keeps the processor busy, and under PipeWire what makes it deliver large "
            "blocks: pw-metadata -n settings 0 clock.force-quantum 0"
        )
        return False, f"{text}: {100 * lost:.0f} % of the sound was lost on the way", fix
    if len(mono) < 0.5 * LISTEN_SECONDS * info.rate:
        return False, f"{text}: too little", "choose another input, or restart the sound server"
    level = 10 * math.log10(float(np.square(mono).mean()) + 1e-12)
    peak = float(np.abs(mono).max())
    text += f", level {level:.0f} dBFS, peak {20 * math.log10(peak + 1e-6):.0f} dBFS"
    channels = [report.text for report in microphone.reports.take() if report.kind == "channels"]
    channels += microphone.channels.finish()
    if level < DEAF_DB:
        fix = "unmute it, or choose another input with audio.device"
        return False, f"{text}: silence", channels[0] if channels else fix
    # What channels that cancel each other leave is quiet, whatever the volume.
    faults = [] if microphone.channels.cancelled else _faults(info, settings, chunks)
    return True, text, "; ".join([*channels, *faults])


def _faults(info: StreamInfo, settings: Settings, chunks: Sequence[Chunk]) -> list[str]:
    """What `SoundMonitor` says of these seconds."""
    try:
        gates = load_gates(settings)
    except UserError:  # another line says so
        gates = GateBank(GateSettings(kind="off"))
    wanted = StreamSettings(("speech",), frozenset())
    stream = Stream(replace(info, live=False), wanted, gates, monitor=True)
    for chunk in chunks:
        stream.feed(chunk)
    stream.finish()
    gates.run(stream.gates())
    stream.due()
    stream.abandon()
    return [message.text for message in stream.take() if isinstance(message, Status)]
