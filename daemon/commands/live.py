"""`intentd live`: a microphone, for as long as it takes."""

from __future__ import annotations

from contextlib import nullcontext

from daemon.assembly.session import run_session
from daemon.assembly.setup import load_model, note, prepare
from daemon.base.stderr import discard_native_stderr
from daemon.capture.microphone.microphone import Microphone
from daemon.capture.microphone.waiting import wait_for_microphone
from daemon.capture.wake import Wake
from daemon.config import AudioSettings, Sources
from daemon.runtime.inputs import LiveInput
from daemon.service.notify import Notifier, StartupExtender

MARGIN_SECONDS = 2.0
"""What the ring holds beyond the sound that may wait, so that it is the worker who sheds, in one
piece, and not the ring block by block."""


def run(sources: Sources, *, debug: bool) -> int:
    """Listen until the user or a signal ends it. Returns the exit status; raises `UserError` if
    nothing could be started."""
    setup = prepare(sources)
    audio = setup.settings.audio
    wake = Wake()
    quiet = nullcontext if debug else discard_native_stderr
    if audio.wait_for_device:
        # What takes seconds comes first, so that listening begins as soon as there is something
        # to be heard.
        classifier, gates = load_model(setup), setup.load_gates()
        patience = StartupExtender(Notifier())
        with quiet():
            microphone = wait_for_microphone(lambda: build(audio, wake), patience.cancelled, note)
        assert microphone is not None  # nothing but a signal ends the wait
    else:
        with quiet():
            microphone = build(audio, wake)  # refused at once
        classifier, gates = load_model(setup), setup.load_gates()
    source = LiveInput(microphone, wake)
    return run_session(setup, classifier, gates, source, paced=True, debug=debug)


def build(audio: AudioSettings, wake: Wake | None = None) -> Microphone:
    """The microphone that the settings name. Raises `UserError` if there is none."""
    return Microphone(
        audio.device,
        rate=audio.rate,
        channel=audio.channel,
        block_ms=audio.block_ms,
        buffer_seconds=audio.buffer_seconds + MARGIN_SECONDS,
        wake=wake,
        follow_default=audio.follow_default,
    )
