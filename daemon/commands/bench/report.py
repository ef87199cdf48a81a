"""Shows a bench's figures: a table, and a plot of latency by streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.base.errors import UserError
from daemon.commands.bench.measure import LIMIT_MS, sustained

Figures = dict[str, Any]
SPREAD = ("min", "median", "max")


def text(found: Figures) -> str:
    """All figures, as tables."""
    here, model, daemon = found["machine"], found["model"], found["daemon"]
    pipeline = found["pipeline"]
    sizes = list(found["backends"][0]["ms"])
    limits = f", {' '.join(here['limits'])}" if here["limits"] else ""
    load = "" if here["load_average"] is None else f", load average {here['load_average']:.2f}"
    lines = [
        f"{here['processor']}, {here['cores']}, {'with' if here['amx'] else 'without'} AMX"
        f"{limits}{load}",
        f"{model['name']}, {model['parameters'] / 1e6:.2f} million parameters, windows of "
        f"{model['window']:g} s every {model['hop']:g} s; medians of {found['rounds']} "
        "interleaved rounds",
        "",
        "One window, in ms (times as fast as the pipeline), by the batch it is in:",
    ]
    rows = [["", *(f"batch {size}" for size in sizes), "peak memory"]]
    name = f"transformers' pipeline, {pipeline['threads']} threads"
    rows.append([name, f"{pipeline['ms']:.2f}", *[""] * (len(sizes) - 1), _mb(pipeline)])
    for each in found["backends"]:
        figures = [f"{each['ms'][s]:.2f} ({each['times_pipeline'][s]:.1f})" for s in sizes]
        rows.append([f"{each['runs']}, {found['threads']} threads", *figures, _mb(each)])
    lines += [*_table(rows), *(f"{n}: {why}" for n, why in found["failed"].items()), ""]
    lines.append(
        f"The whole daemon on {daemon['backend']}, loaded in {daemon['load_seconds']:.1f} s; "
        "speech for a third of the time:"
    )
    rows = [["streams", "p50", "p99", "lost", "cores", "full speed", "CPU a window", "peak memory"]]
    rows += [
        [
            str(each["streams"]),
            f"{each['p50_ms']:.1f} ms",
            f"{each['p99_ms']:.1f} ms",
            str(each["lost"]),
            f"{each['cores']:.3f}",
            f"{each['windows_per_second']:.0f} windows/s, x{1 / each['realtime_factor']:.0f}",
            f"{each['cpu_ms_per_window']:.2f} ms",
            _mb(each),
        ]
        for each in daemon["streams"]
    ]
    lines += [*_table(rows), "", "Costs, over all rounds:"]
    rows = [["", "", "min", "median", "max", "unit"]]
    rows += [
        [each["subject"], each["what"], *(f"{each[n]:.2f}" for n in SPREAD), each["unit"]]
        for each in found["costs"]
    ]
    lines += [*_table(rows, left=2), "", *_sentences(found)]
    return "\n".join(lines)


def _sentences(found: Figures) -> list[str]:
    daemon = found["daemon"]
    kept = sustained(found)
    sentences = [
        f"Streams sustained with nothing lost and p99 below {LIMIT_MS:g} ms, of those tried: "
        f"{kept or 'none'}.",
        f"An hour of speech without pauses takes {daemon['hour_of_speech_seconds']:.0f} s at full "
        "speed.",
        f"The daemon's own share, gate off: {100 * daemon['own_share']:.1f} % over the bare "
        "backend in the same batches.",
    ]
    return sentences + ([f"{found['not_compared']}."] if found["not_compared"] else [])


def _mb(figures: Figures) -> str:
    return "" if figures["peak_mb"] is None else f"{figures['peak_mb']:.0f} MB"


def _table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def check_plotting() -> None:
    """Raise `UserError` where nothing can be plotted."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(
            "--plot needs matplotlib, which is not installed; pip install matplotlib, or leave "
            "--plot out"
        ) from None


def plot(found: Figures, path: Path) -> None:
    """Plot latency and processor time a window by the number of streams.

    The file's suffix names the kind of picture.

    Raises: UserError if it can't be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    each = found["daemon"]["streams"]
    streams = [figures["streams"] for figures in each]
    picture, (above, below) = pyplot.subplots(
        2, 1, sharex=True, figsize=(7, 6), height_ratios=(3, 2), layout="constrained"
    )
    above.plot(streams, [f["p99_ms"] for f in each], "o-", label="p99")
    above.plot(streams, [f["p50_ms"] for f in each], "s--", label="p50")
    above.axhline(LIMIT_MS, color="grey", linewidth=0.8, linestyle=":")
    above.set(
        ylabel="latency, ms",
        yscale="log",
        title=f"{found['model']['name']}: latency and "
        f"cost against streams\n{found['machine']['processor']}, {found['daemon']['backend']}",
    )
    above.legend()
    below.plot(streams, [f["cpu_ms_per_window"] for f in each], "o-", color="tab:green")
    below.set(xlabel="streams", xscale="log", ylabel="CPU a window, ms", ylim=(0, None))
    below.set_xticks(streams, [str(count) for count in streams])
    below.minorticks_off()
    try:
        picture.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UserError(f"the plot {path} can't be written ({error}); name another file") from None
    finally:
        pyplot.close(picture)
