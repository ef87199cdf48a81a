"""`intentd live`: listen to a microphone until stopped."""

from __future__ import annotations

from contextlib import nullcontext

from daemon.assembly.inputs import open_microphone
from daemon.assembly.session import run_session
from daemon.assembly.setup import load_model, note, prepare
from daemon.base.stderr import discard_native_stderr
from daemon.capture.microphone.waiting import wait_for_microphone
from daemon.capture.wake import Wake
from daemon.config import Sources
from daemon.runtime.inputs import LiveInput
from daemon.serve.inputs import ServedInput
from daemon.serve.server import ClientServer
from daemon.service.notify import Notifier, StartupExtender


def run(sources: Sources, *, debug: bool) -> int:
    """Listen until the user or a signal ends it; return the exit status.

    Raises: UserError if nothing could be started.
    """
    setup = prepare(sources)
    audio = setup.settings.audio
    wake = Wake()
    quiet = nullcontext if debug else discard_native_stderr
    if audio.wait_for_device:
        # What takes seconds comes first, so that listening begins as soon as there is something
        # to be heard.
        classifier, gates = load_model(setup), setup.load_gates()
        extender = StartupExtender(Notifier())
        with quiet():
            microphone = wait_for_microphone(
                lambda: open_microphone(audio, wake), extender.cancelled, note
            )
        assert microphone is not None  # nothing but a signal ends the wait
    else:
        with quiet():
            microphone = open_microphone(audio, wake)  # refused at once
        classifier, gates = load_model(setup), setup.load_gates()
    server = ClientServer(setup.settings.serve, wake)
    source = ServedInput(server, LiveInput(microphone, wake), wake)
    return run_session(setup, classifier, gates, source, server=server, paced=True, debug=debug)
