"""`intentd bench`: speed of the model here, beside transformers' pipeline."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from daemon.assembly.setup import prepare
from daemon.base.errors import UserError, os_reason
from daemon.commands.bench.measure import Plan, measure
from daemon.commands.bench.report import check_plotting, plot, text
from daemon.config import Option, Sources


def run(
    sources: Sources,
    plan: Plan,
    *,
    shape: str | None,
    json_file: str | None,
    plot_file: Path | None,
    agree: Sequence[Path],
) -> int:
    """Measure and print; with `agree` compare scores on recordings instead.

    Raises: UserError for a model or recording that can't be read, or a file that can't be written.
    """
    if plot_file is not None:
        check_plotting()
    with tempfile.TemporaryDirectory(prefix="intentd-shape-") as folder:
        if shape is not None:
            from daemon.commands.bench.shapes import make_shape

            made = make_shape(shape, Path(folder) / shape)
            sources = sources.having(Option("model.path", "--shape", str(made)))
        setup = prepare(sources)
        if agree:
            from daemon.commands.bench import agreement

            found = agreement.agreement(setup, agree)
            table = agreement.text(found)
        else:
            found = measure(setup, sources, plan, _tell)
            if plot_file is not None:
                plot(found, plot_file)
            table = text(found)
    if json_file != "-":
        print(table, flush=True)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1))
    return 0


def _tell(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"intentd bench: {progress}", file=sys.stderr, flush=True)


def _write(name: str, content: str) -> None:
    if name == "-":
        print(content, flush=True)
        return
    try:
        Path(name).write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"the figures can't be written to {name} ({os_reason(error)}); name another file"
        ) from None
