"""HTTP server of the metrics: a bounded number of short connections."""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 16
"""At the same time; further ones are closed at once."""
IDLE_SECONDS = 5.0
"""A connection that sends or takes nothing for so long is closed."""
LONGEST_SECONDS = 10.0
"""A connection that takes longer, however busy it is, is closed."""


class MetricsServer(WSGIServer):
    """WSGI server with a thread a connection; `serve` starts, `stop` ends it."""

    def __init__(self, host: str, port: int, app: Callable[..., Any]) -> None:
        """Listen. Raises OSError."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._since: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, name="metrics", args=(0.2,), daemon=True
        )
        super().__init__((host, port), _Handler)
        self.set_app(app)

    def serve(self) -> None:
        """Answer, in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        if self._thread.ident is not None:
            self.shutdown()
        self.server_close()
        self._close_older_than(0.0)

    def server_bind(self) -> None:
        # HTTPServer's asks the resolver for the machine's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._since) >= MOST_CONNECTIONS:
                return False
            self._since[request] = time.monotonic()
            return True

    def process_request(self, request: Any, client_address: Any) -> None:
        threading.Thread(
            target=self._answer, args=(request, client_address), name="metrics client", daemon=True
        ).start()

    def service_actions(self) -> None:
        self._close_older_than(LONGEST_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection to the metrics failed", exc_info=True)

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            with self._lock:
                self._since.pop(request, None)
            self.shutdown_request(request)

    def _close_older_than(self, seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            old = [one for one, since in self._since.items() if now - since >= seconds]
        for connection in old:
            try:
                connection.shutdown(socket.SHUT_RDWR)  # its thread wakes, and closes it
            except OSError:
                continue


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS
    server_version = "intentd"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics: %s", format % args)

    def address_string(self) -> str:
        return str(self.client_address[0])

    def get_stderr(self) -> Any:
        return io.StringIO()  # where wsgiref writes tracebacks of clients that went away
