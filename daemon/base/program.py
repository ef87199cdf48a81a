"""Runs one command of a command line, from arguments to exit status."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import typer

from daemon.base.descriptor import point_to_null
from daemon.base.errors import UserError, os_reason, whole_message
from daemon.base.logs import logs
from daemon.base.resources import resource_sentence

# typer carries click inside since 0.26 and beside it before; the class is the same by name.
_UsageProblem: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
log = logging.getLogger(__name__)


def debugging() -> bool:
    """Whether `--debug` was given."""
    return logs.debug


class _Terminated(BaseException):
    """SIGTERM before the engine took signals over, or after it gave them back."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def keep_docstrings(package: str) -> None:
    """Restart `python -m PACKAGE` where Python drops docstrings.

    It does with -OO and PYTHONOPTIMIZE=2.

    They are the help of our commands, and transformers reads its own.
    """
    if sys.flags.optimize < 2:
        return
    command = [sys.executable, "-P", "-m", package, *sys.argv[1:]]
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    if os.name == "nt":  # where execve returns to the shell before the program has ended
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    os.execve(sys.executable, command, environment)


def open_closed_streams() -> None:
    """Open the null device for standard streams that are closed.

    The next file that is opened would take their place otherwise. Call it first.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            null = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - for good
            os.set_inheritable(null.fileno(), True)
            setattr(sys, name, null)
    for stream in (sys.stdout, sys.stderr):
        # In a locale that is not UTF-8 what can't be encoded is shown as an escape.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complete(app: typer.Typer, program: str) -> None:
    """Answer a shell's request for completions and exit; else do nothing."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    if variable in os.environ:
        typer.main.get_command(app).main(args=[], prog_name=program, complete_var=variable)


def run_app(app: typer.Typer, arguments: Sequence[str], program: str = "intentd") -> int:
    """Run one command and return its exit status.

    Whatever goes wrong is one sentence on stderr.
    """
    logs.reset()

    def complain(sentence: str, status: int) -> int:
        from daemon.base.journal import complain

        complain(sentence, program=program)
        return status

    command: Any = typer.main.get_command(app)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with command.make_context(program, list(arguments)) as context:
            status = command.invoke(context)
        try:
            _flush_stdout()
        except OSError:
            if not status:
                raise
            _discard_stdout()  # what failed has been reported
    except typer.Exit as end:
        status = end.exit_code
    except _UsageProblem as problem:
        status = complain(_usage(problem, program), 2)
    except UserError as error:
        log.debug("refused", exc_info=True)
        status = complain(str(error), error.status)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except _Terminated:
        status = 0
    except BrokenPipeError:
        status = _discard_stdout()
    except Exception as error:
        log.error("failed", exc_info=True)
        status = complain(stdout_fault(error) or resource_sentence(error) or _defect(error), 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(status or 0)


def exit_process(status: int) -> NoReturn:
    """End the process without tearing down the interpreter.

    Everything must be closed by now.

    Taking torch apart takes up to seconds on a busy machine, and a thread that hangs in a model or
    a sound server would be waited for without end. Neither another Ctrl-C nor a terminal that has
    closed changes the status any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(status)


def _usage(problem: Any, program: str) -> str:
    context = getattr(problem, "ctx", None)
    where = context.command_path if context is not None else program
    message = " ".join(problem.format_message().split()).rstrip(".")
    return f"{message}; see {where} --help"


def _defect(error: Exception) -> str:
    return (
        f"failed unexpectedly ({type(error).__name__}: {whole_message(error)}); --debug shows where"
    )


def _flush_stdout() -> None:
    """Flush standard output.

    Raises: OSError if it can't be written, but for a terminal that has closed.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        _discard_stdout()


_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE}


def stdout_fault(error: Exception) -> str:
    """Sentence for an error of standard output, which is given up then.

    "" if `error` is another one.
    """
    if not isinstance(error, OSError) or error.errno not in _FAULTS or error.filename is not None:
        return ""
    try:
        # Where nothing is buffered, only a further line can tell.
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as fault:
        _discard_stdout()
        return f"standard output can't be written ({os_reason(fault)})"
    return ""


def _discard_stdout() -> int:
    """Discard standard output after its reader has closed it.

    Python must not complain when it flushes.
    """
    point_to_null(1)
    return 0
