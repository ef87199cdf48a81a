"""`intentd serve`: listen to clients, without a microphone of its own."""

from __future__ import annotations

from daemon.assembly.session import run_session
from daemon.assembly.setup import load_model, prepare
from daemon.capture.wake import Wake
from daemon.config import Sources
from daemon.serve.address import DEFAULT
from daemon.serve.inputs import ServedInput
from daemon.serve.server import ClientServer


def run(sources: Sources, *, debug: bool) -> int:
    """Serve clients until a signal ends it; return the exit status.

    It listens at the addresses of the settings, at `DEFAULT` if there are none.

    Raises: UserError if nothing could be started.
    """
    setup = prepare(sources)
    wake = Wake()
    server = ClientServer(setup.settings.serve, wake, otherwise=(DEFAULT,))  # refused at once
    classifier, gates = load_model(setup), setup.load_gates()
    source = ServedInput(server, None, wake)
    return run_session(setup, classifier, gates, source, server=server, paced=True, debug=debug)
