"""Rounds of a bench, in each of which every subject is measured in turn.

A machine that grows slower meanwhile is thus unfair to nobody. Figures are medians over the rounds.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from daemon.assembly.setup import Setup
from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.commands.bench import sounds
from daemon.commands.bench.parent import Child
from daemon.commands.bench.start import first_window, help_seconds
from daemon.config import Sources
from daemon.model.backends import Job, candidates
from daemon.model.cores import SMALL, has_fast_bf16, machine, usable_cores

SIZES = (1, 4, 16)
WINDOWS = 16
"""That a backend classifies for one figure, in batches of each size; the pipeline does half. Four
times as many where models are no larger than SMALL, and by the bare backend that the daemon's own
share is told from."""
FAST = 10
"""Times the seconds of a replay at speed 1 that are replayed at full speed, at least."""
SOUNDS = {"quiet": "a quiet room", "speech": "speech", "music": "music"}
CPU = "s of processor"
LIMIT_MS = 250.0
"""p99 of the latency up to which streams count as sustained."""

Figures = dict[str, Any]
Tell = Callable[[str], None]
Value = Callable[[Figures], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The measurements to make."""

    rounds: int = 3
    streams: tuple[int, ...] = (1, 10, 100)
    seconds: float = 30.0
    """Of each replay at speed 1."""
    recording: Path | None = None
    """Where the speech comes from; None: the demo recording."""


def measure(setup: Setup, sources: Sources, plan: Plan, tell: Tell) -> Figures:
    """All figures, ready for JSON.

    Raises: UserError for a model or recording that can't be used.
    """
    speech = sounds.speech_of(plan.recording)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intentd-bench-")))
        files = _Files(folder, speech, plan)
        tell("loading the model on each backend")
        bench = _Bench(setup, sources, plan, files, stack)
        for number in range(plan.rounds):
            tell(f"round {number + 1} of {plan.rounds}")
            bench.round(number)
        return bench.figures()


class _Files:
    """The recordings that are played."""

    def __init__(self, folder: Path, speech: sounds.Mono, plan: Plan) -> None:
        period, length = sounds.PERIOD, plan.seconds
        self.bouts = [
            sounds.write(
                folder / f"bouts{n}.wav", sounds.bouts(speech, length, n * period / sounds.PHASES)
            )
            for n in range(sounds.PHASES)
        ]
        self.quiet = sounds.write(folder / "quiet.wav", sounds.quiet(plan.seconds))
        self.music = sounds.write(folder / "music.wav", sounds.music(plan.seconds))
        long = np.resize(speech, round(FAST * plan.seconds) * RATE)
        self.long = sounds.write(folder / "long.wav", long)
        rate = round(plan.seconds * RATE)
        self.speech = sounds.write(folder / "speech.wav", np.resize(speech, rate))

    def streams(self, count: int) -> list[str]:
        """Recordings for `count` streams, their speech spread evenly in time."""
        step = max(1, len(self.bouts) // count)
        return [self.bouts[(n * step) % len(self.bouts)] for n in range(count)]


class _Bench:
    def __init__(
        self,
        setup: Setup,
        sources: Sources,
        plan: Plan,
        files: _Files,
        stack: contextlib.ExitStack,
    ) -> None:
        self._setup, self._plan, self._files = setup, plan, files
        self._times: defaultdict[tuple[str, ...], list[Figures]] = defaultdict(list)
        settings = setup.settings
        window, hop = settings.window.seconds, settings.window.hop
        job = Job.of(setup.info, window, hop, settings.model.threads)
        self._threads = job.threads
        self._windows = 4 * WINDOWS if job.weights.stat().st_size <= SMALL else WINDOWS
        common = {"model": str(setup.info.directory), "hop": hop}
        # The daemon first: it converts the model and chooses a backend where that was not done yet.
        self._daemon = stack.enter_context(Child(kind="daemon", sources=asdict(sources)))
        ungated = asdict(sources.having(assignments=["gate.kind=off"]))
        self._ungated = stack.enter_context(Child(kind="daemon", sources=ungated))
        sizes = sorted({*SIZES, settings.model.max_batch})
        self._backends: dict[str, Child] = {}
        self._failed: dict[str, str] = {}
        for name in candidates(job):
            child = Child(
                kind="backend",
                backend=name,
                threads=self._threads,
                window=window,
                batch=max(sizes),
                sizes=sizes,
                **common,
            )
            try:
                self._backends[name] = stack.enter_context(child)
            except UserError as error:
                self._failed[name] = str(error)
        self._sizes = sizes
        self._pipeline = stack.enter_context(Child(kind="pipeline", window=job.window, **common))
        self._sources = sources
        self._replays = {
            jobs: stack.enter_context(Child(kind="daemon", sources=asdict(sources), jobs=jobs))
            for jobs in range(1, usable_cores() + 1)
        }
        self._rival: Child | None = None
        self._no_rival = ""
        try:
            self._rival = stack.enter_context(Child(kind="rival"))
        except UserError as error:
            self._no_rival = str(error)

    # ---- measuring ------------------------------------------------------------------------------

    def round(self, number: int) -> None:
        """One figure of everything."""
        self._note(("pipeline",), self._pipeline.ask(windows=self._windows // 2))
        for name, child in self._backends.items():
            for size in self._sizes:
                calls = max(1, self._windows // size)
                figures = child.ask(size=size, calls=calls)
                self._note((name, str(size)), figures | {"count": size * calls})
        speech = self._files.speech
        self._note(("hour",), self._daemon.ask(files=[speech], speed=None))
        self._note(("own",), self._own())
        for count in sorted(self._plan.streams):
            files = self._files.streams(count)
            times = -(-FAST // count)
            runs = [self._daemon.ask(files=files, speed=None) for _ in range(times)]
            self._note(("fast", str(count)), _added(runs))
            self._note(("paced", str(count)), self._daemon.ask(files=files, speed=1.0))
        for jobs, child in self._replays.items():
            self._note(("replay", str(jobs)), child.ask(files=[self._files.long], speed=None))
        self._note(("help",), {"seconds": help_seconds()})
        self._note(("start",), first_window(self._files.quiet, self._sources))
        for name in SOUNDS:
            file = getattr(self._files, name)
            self._note(("cost", name), self._daemon.ask(files=[file], speed=1.0))
            if self._rival is not None:
                self._note(("rival", name), self._rival.ask(file=file))

    def _own(self) -> Figures:
        """Time of a window in a replay without gate, and by the bare backend.

        The backend is measured at once after the replay, at the same batch size.
        """
        whole = self._ungated.ask(files=[self._files.speech] * 2, speed=None)
        size = self._setup.settings.model.max_batch
        calls = max(1, 4 * WINDOWS // size)
        name = _closest(self._backends, self._daemon.about["name"])
        bare = self._backends[name].ask(size=size, calls=calls)
        return {
            "share": whole["seconds"] / whole["classified"] / (bare["seconds"] / calls / size) - 1
        }

    def _note(self, key: tuple[str, ...], figures: Figures) -> None:
        self._times[key].append(figures)

    # ---- figures --------------------------------------------------------------------------------

    def figures(self) -> Figures:
        setup, settings = self._setup, self._setup.settings
        pipeline = 1000 * self._median(("pipeline",), "seconds") / (self._windows // 2)
        hour = self._median(("hour",), "seconds") / self._median(("hour",), "sound_seconds")
        return {
            "machine": _machine(),
            "model": {
                "name": setup.model_name,
                "parameters": setup.info.architecture.parameters,
                "window": settings.window.seconds,
                "hop": settings.window.hop,
            },
            "rounds": self._plan.rounds,
            "threads": self._threads,
            "pipeline": {
                "ms": round(pipeline, 3),
                "threads": self._pipeline.about["threads"],
                "peak_mb": self._last(("pipeline",), "peak_mb"),
            },
            "backends": [self._backend(name, pipeline) for name in self._backends],
            "failed": self._failed,
            "daemon": {
                "backend": self._daemon.about["name"],
                "load_seconds": round(self._daemon.about["load_seconds"], 3),
                "own_share": round(self._median(("own",), "share"), 4),
                "hour_of_speech_seconds": round(3600 * hour, 2),
                "streams": [self._streams(count) for count in sorted(self._plan.streams)],
            },
            "cpu_seconds_per_hour": self._costs(),
            "costs": self._table(),
            "not_compared": self._no_rival,
        }

    def _backend(self, name: str, pipeline: float) -> Figures:
        def ms(size: int, key: str) -> float:
            count = self._times[name, str(size)][0]["count"]
            return round(1000 * self._median((name, str(size)), key) / int(count), 3)

        wall = {str(size): ms(size, "seconds") for size in self._sizes}
        return {
            "name": name,
            "runs": self._backends[name].about["name"],
            "ms": wall,
            "cpu_ms": {str(size): ms(size, "cpu_seconds") for size in self._sizes},
            "times_pipeline": {size: round(pipeline / value, 2) for size, value in wall.items()},
            "peak_mb": self._last((name, str(self._sizes[-1])), "peak_mb"),
        }

    def _streams(self, count: int) -> Figures:
        paced, fast = ("paced", str(count)), ("fast", str(count))
        windows = self._times[fast][0]["classified"]
        wall = self._median(fast, "seconds")
        return {
            "streams": count,
            "p50_ms": round(self._median(paced, "p50_ms"), 2),
            "p99_ms": round(self._median(paced, "p99_ms"), 2),
            "lost": max(figures["lost"] for figures in self._times[paced]),
            "cores": round(self._median(paced, "cpu_seconds") / self._median(paced, "seconds"), 4),
            "windows_per_second": round(windows / wall, 1),
            "cpu_ms_per_window": round(
                1000 * self._median(fast, "cpu_seconds") / max(1, windows), 3
            ),
            "realtime_factor": round(wall / self._times[fast][0]["sound_seconds"], 5),
            "peak_mb": self._times[paced][0]["peak_mb"],
        }

    def _costs(self) -> Figures:
        found: Figures = {}
        for subject, key in self._subjects():
            found[subject] = {
                name: round(
                    3600
                    * self._median((key, name), "cpu_seconds")
                    / self._median((key, name), "sound_seconds"),
                    1,
                )
                for name in SOUNDS
            }
        return found

    def _table(self) -> list[Figures]:
        """Costs of listening, replays and start, with their spread."""
        found: list[Figures] = []

        def add(subject: str, what: str, unit: str, key: tuple[str, ...], value: Value) -> None:
            values = [value(figures) for figures in self._times[key]]
            if None not in values:
                low, middle, high = min(values), statistics.median(values), max(values)
                spread = {"min": low, "median": middle, "max": high}
                found.append(
                    {"subject": subject, "what": what, "unit": unit}
                    | {name: round(each, 3) for name, each in spread.items()}
                )

        for subject, key in self._subjects():
            for name, sound in SOUNDS.items():
                add(
                    subject,
                    f"an hour of {sound}",
                    CPU,
                    (key, name),
                    _per_hour("cpu_seconds"),
                )
        for jobs in self._replays:
            what = f"replay of an hour of speech, --jobs {jobs}"
            add("intentd", what, "s", ("replay", str(jobs)), _per_hour("seconds"))
        add("intentd", "start to the first window", "s", ("start",), itemgetter("seconds"))
        add("intentd", "--help", "s", ("help",), itemgetter("seconds"))
        add("intentd", "peak memory by then", "MB", ("start",), itemgetter("peak_mb"))
        return found

    def _subjects(self) -> list[tuple[str, str]]:
        return [("intentd", "cost")] + ([("openWakeWord", "rival")] if self._rival else [])

    def _median(self, key: tuple[str, ...], name: str) -> float:
        return float(statistics.median(figures[name] for figures in self._times[key]))

    def _last(self, key: tuple[str, ...], name: str) -> Any:
        return self._times[key][-1][name]


def sustained(figures: Figures) -> int:
    """Most of the streams tried that lost nothing and kept p99 low.

    Below LIMIT_MS. 0: none.
    """
    kept = [
        each["streams"]
        for each in figures["daemon"]["streams"]
        if each["p99_ms"] < LIMIT_MS and not each["lost"]
    ]
    return max(kept, default=0)


def _per_hour(name: str) -> Value:
    return lambda figures: 3600 * figures[name] / figures["sound_seconds"]


def _added(runs: Sequence[Figures]) -> Figures:
    """Figures of runs one after the other as if they were one."""
    total = dict(runs[-1])
    for name in ("seconds", "cpu_seconds", "sound_seconds", "windows", "classified", "lost"):
        total[name] = sum(run[name] for run in runs)
    return total


def _closest(backends: Mapping[str, Child], name: str) -> str:
    """The runtime of the daemon's backend `name`."""
    for each, child in backends.items():
        if name.startswith(child.about["name"]):
            return each
    return next(iter(backends))


def _machine() -> Figures:
    found = machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": " ".join(found[:2]),
        "processor": found[2],
        "amx": "amx_bf16" in found[3].split(),
        "fast_bf16": has_fast_bf16(),
        "cores": found[4],
        "limits": list(found[5:]),
        "load_average": load,
    }
