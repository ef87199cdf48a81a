"""Sets up the standard library's logging: --debug and --log-file.

Modules log to `logging.getLogger(__name__)` what a maintainer would ask a reporter for: devices
and backends that were tried, settings that changed, outputs that fail. What users must know is a
`Status` or a sentence on stderr instead. Nothing that was spoken is logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final

from daemon.base.errors import UserError, os_reason
from daemon.base.journal import journal_line, leads_to_journal
from daemon.base.text import escaped, screen_text

LOGGERS: Final = ("daemon", "train")


class StderrHandler(logging.Handler):
    """Writes to the current `sys.stderr`, with the journal's priorities."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname.lower()} {record.name}: {self.format(record)}"
        journal = leads_to_journal(sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            for line in text.splitlines():
                shown = screen_text(line)
                print(journal_line(shown, record.levelname.lower()) if journal else shown,
                      file=sys.stderr, flush=True)  # fmt: skip


class LogFile(WatchedFileHandler):
    """Log file that only its owner may read, also after a rotation."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(
            self.baseFilename,
            "a",
            encoding="utf-8",
            errors="backslashreplace",
            opener=private,
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written is flushed once more
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that can't be written, on a full disk, is done without."""


class Logs:
    """The loggers and their handlers."""

    def __init__(self) -> None:
        self.debug = False
        self._file: LogFile | None = None
        self._stderr = StderrHandler()

    def reset(self) -> None:
        """Log nothing."""
        if self._file is not None:
            self._file.close()
        self.debug, self._file = False, None
        self._apply()

    def want_debug(self) -> None:
        """Log everything, to stderr too."""
        self.debug = True
        self._apply()

    def to_file(self, path: Path) -> None:
        """Append to a file. Raises `UserError` if it can't be written."""
        file = path.expanduser()
        try:
            handler = LogFile(file, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"the log can't be written to {escaped(str(file))} ({os_reason(error)}); name "
                "another file with --log-file"
            ) from None
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s (%(threadName)s): %(message)s")
        )
        if self._file is not None:
            self._file.close()
        self._file = handler
        self._apply()

    def _apply(self) -> None:
        handlers: list[logging.Handler] = [self._file] if self._file is not None else []
        if self.debug:
            handlers.append(self._stderr)
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers[:] = handlers or [logging.NullHandler()]
            logger.propagate = False
            logger.setLevel(logging.DEBUG if self.debug else logging.INFO)


logs: Final = Logs()
"""The one of this process."""
