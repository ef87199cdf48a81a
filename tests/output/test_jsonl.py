"""JSON lines: the published form to the byte, whole lines on any disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.base.errors import UserError
from daemon.config import OutputSettings
from daemon.messages import (
    Event,
    Gap,
    Prediction,
    Rejection,
    RunInfo,
    Start,
    StreamInfo,
    Summary,
    Verdict,
)
from daemon.output.jsonl import JsonLines
from daemon.output.line_format import LineFormat

ROOT = Path(__file__).parents[2]
LABELS = ("up", "down", "background")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files and signals")


def scores(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


def run_info(*, live: bool) -> RunInfo:
    stream = StreamInfo("s", 16000, 1, live)
    return RunInfo((stream,), LABELS, frozenset({"background"}), (0.6,) * 3, "m", "b", 1.0, 0.24)


def gap(number: int) -> Gap:
    return Gap("s", number, number + 1, 16000, "overflow")


def line(message: Any, labels: tuple[str, ...] = LABELS) -> str:
    written = LineFormat(labels).line(message)
    assert written.endswith(b"\n") and written.count(b"\n") == 1
    return written[:-1].decode("utf-8")


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


MIC = StreamInfo("mic", 16000, 1, live=True)


def test_lines_have_the_published_form() -> None:
    assert line(Start("mic", "2026-11-01T00:00:00.125Z", "0.1.0", "m", LABELS, 1.0, 0.24, MIC)) == (
        '{"type":"start","stream":"mic","at":"2026-11-01T00:00:00.125Z","version":"0.1.0",'
        '"model":"m","labels":["up","down","background"],"window":1.000,"hop":0.240}'
    )
    assert line(
        Prediction("a.wav", 0.24, 1.24, False, scores(0.7, 0.2, 0.1), scores(0.6, 0.3, 0.1), 12.5)
    ) == (
        '{"type":"prediction","stream":"a.wav","start":0.240,"end":1.240,"intent":"up",'
        '"score":0.600000,"scores":{"up":0.700000,"down":0.200000,"background":0.100000},'
        '"rolling":{"up":0.600000,"down":0.300000,"background":0.100000},'
        '"gated":false,"latency_ms":12.50}'
    )
    assert line(Prediction("a.wav", 0, 1, True, None, scores(0.5, 0, 0), None)) == (
        '{"type":"prediction","stream":"a.wav","start":0.000,"end":1.000,"intent":null,'
        '"score":null,"scores":null,"rolling":{"up":0.500000,"down":0.000000,'
        '"background":0.000000},"gated":true,"latency_ms":null}'
    )
    assert line(Event("a.wav", "up", 1.0004, 1.6, 0.75, 1.92)) == (
        '{"type":"event","stream":"a.wav","intent":"up","start":1.000,"end":1.600,'
        '"score":0.750000,"at_stream":1.920}'
    )
    assert line(Event("a.wav", "up", 1, 2, 0.25, 2, verified=0.875)).endswith(
        '"at_stream":2.000,"verified":0.875000}'
    )
    assert line(Rejection("a.wav", "up", 1, 2, 0.25, 0.125, 2)) == (
        '{"type":"rejection","stream":"a.wav","intent":"up","start":1.000,"end":2.000,'
        '"score":0.250000,"at_stream":2.000,"verified":0.125000}'
    )
    assert line(Event("mic", "up", 1, 2, 0.75, 1.92, "2026-11-01T00:00:00Z")).endswith(
        '"at_stream":1.920,"at":"2026-11-01T00:00:00Z"}'
    )
    assert line(Gap("mic", 2.0, 3.5, 24000, "device lost")) == (
        '{"type":"gap","stream":"mic","start":2.000,"end":3.500,"samples_lost":24000,'
        '"reason":"device lost"}'
    )
    summary = Summary(
        "a.wav", 30.0, 122, 60, 2, (Verdict("up", 0.9), Verdict("down", 0.1)),
        480000, 240000, 230000, 10000, 12.0, None, samples_shed=10000,
    )  # fmt: skip
    assert line(summary) == (
        '{"type":"summary","stream":"a.wav","seconds":30.000,"windows":122,"gated":60,"events":2,'
        '"top":[{"intent":"up","score":0.900000},{"intent":"down","score":0.100000}],'
        '"samples_captured":480000,"samples_classified":240000,"samples_gated":230000,'
        '"samples_lost":10000,"latency_ms":{"p50":12.00,"p99":null}}'
    )


@given(
    st.text(st.characters(), max_size=20),
    st.lists(st.text(st.characters(), max_size=8), min_size=1, max_size=5, unique=True),
    st.floats(width=32),
    st.floats(),
)
def test_any_name_and_any_number_give_valid_json_and_utf_8(
    name: str, labels: list[str], score: float, start: float
) -> None:
    values = np.full(len(labels), score, np.float32)
    for message in (
        Start(name, name, name, name, tuple(labels), start, start, MIC),
        Prediction(name, start, start, False, values, values, score),
        Event(name, labels[0], start, start, score, start),
        Gap(name, start, start, 1, name),
        Summary(name, start, 1, 0, 0, (Verdict(labels[0], score),), 1, 1, 0, 0, score, score),
    ):
        read = strict(line(message, tuple(labels)))
        assert list(read)[:2] == ["type", "stream"]
        if name.isprintable():
            assert read["stream"] == name
        if np.isfinite(start):
            value = next(read[k] for k in ("start", "seconds", "hop") if k in read)
            assert abs(value - start) <= 0.0006


def test_names_that_are_no_utf_8_stay_apart_and_percent_signs_stay_signs() -> None:
    names = [os.fsdecode(raw) for raw in (b"a\xff.wav", b"a\xfe.wav", b"a\n.wav")]
    read = [strict(line(gap_of(name)))["stream"] for name in names]
    assert read == ["a\\xff.wav", "a\\xfe.wav", "a\n.wav"]
    labels = ("100 %", "%.6f", "%s")
    for value in (0.25, float("nan")):
        message = Prediction("s", 0, 1, False, scores(value, 0.5, 0.25), scores(0, 1, 0), 1.0)
        read_scores = strict(line(message, labels))["scores"]
        assert list(read_scores) == list(labels)
        assert read_scores["%.6f"] == 0.5
        assert read_scores["100 %"] == (0.25 if value == value else None)  # noqa: PLR0124


def gap_of(name: str) -> Gap:
    return Gap(name, 0, 1, 1, "overflow")


def written(path: Path) -> list[Any]:
    return [strict(text) for text in path.read_text("utf-8").splitlines()]


def publish(path: Path, *numbers: int, live: bool) -> None:
    output = JsonLines(str(path))
    output.open(run_info(live=live))
    for number in numbers:
        output.publish(gap(number))
    output.close()


def test_a_replay_replaces_the_file_and_a_live_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    publish(path, 1, 2, live=False)
    publish(path, 3, live=False)
    assert [row["start"] for row in written(path)] == [3]
    publish(path, 4, live=True)
    assert [row["start"] for row in written(path)] == [3, 4]


def test_lines_go_to_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    path, old = tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    output = JsonLines(str(path))
    output.open(run_info(live=False))
    output.publish(gap(1))
    path.rename(old)
    output.publish(gap(2))
    output.reopen()
    output.publish(gap(3))
    output.reopen()  # without a rotation nothing is cut
    output.publish(gap(4))
    output.close()
    assert [row["start"] for row in written(old)] == [1, 2]
    assert [row["start"] for row in written(path)] == [3, 4]


def test_a_file_begun_by_a_rotation_begins_with_the_start(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    output = JsonLines(str(path))
    output.open(run_info(live=True))
    start = Start("s", "2026-11-01T00:00:00.125Z", "0.1.0", "m", LABELS, 1.0, 0.24, MIC)
    for message in (start, gap(1)):
        output.publish(message)
    output.reopen()  # not rotated
    output.publish(gap(2))
    first = path.read_bytes()
    path.unlink()
    output.reopen()
    output.publish(gap(3))
    output.close()
    assert [row["type"] for row in map(json.loads, first.splitlines())] == ["start", "gap", "gap"]
    assert path.read_bytes().splitlines()[0] == first.splitlines()[0]
    assert [row["type"] for row in written(path)] == ["start", "gap"]


def test_an_unfinished_line_of_others_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"torn":')
    publish(path, 1, live=True)
    first, second = path.read_text().splitlines()
    assert first == '{"torn":' and strict(second)["type"] == "gap"


def test_levels_and_statuses_are_no_lines() -> None:
    assert JsonLines("-").takes == {Start, Prediction, Event, Rejection, Gap, Summary}


def test_only_the_types_that_were_chosen_are_lines() -> None:
    assert OutputSettings().types == ["prediction", "event", "gap", "summary"]
    assert JsonLines("-", ["event", "summary"]).takes == {Event, Summary}


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    for target, words in ((tmp_path / "no" / "x", "no such file"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=words) as caught:
            JsonLines(str(target)).open(run_info(live=False))
        assert str(target) in str(caught.value) and "--jsonl" in str(caught.value)


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    for content in (b"RIFF....WAVE", b"\x00{", b"[1]\n"):
        path.write_bytes(content)
        for live in (False, True):
            with pytest.raises(UserError, match=r"song\.wav.*holds something else"):
                JsonLines(str(path)).open(run_info(live=live))
            assert path.read_bytes() == content
    path.write_bytes(b"")
    publish(path, 1, live=False)
    assert [row["start"] for row in written(path)] == [1]


@posix
def test_a_pipe_that_nobody_reads_is_a_sentence_and_not_a_wait(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="nobody reads"):
        JsonLines(str(pipe)).open(run_info(live=False))


@posix
def test_a_full_disk_leaves_whole_lines_and_the_rest_follows_when_there_is_room(
    tmp_path: Path,
) -> None:
    script = """
import resource, sys
from tests.output.test_jsonl import gap, run_info
from daemon.output.jsonl import JsonLines
output = JsonLines(sys.argv[1])
output.open(run_info(live=False))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
failed = 0
for number in range(20):
    try:
        output.publish(gap(number))
    except OSError:
        failed += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert open(sys.argv[1], "rb").read().endswith(b"}\\n")
        output.reopen()
        output.publish(gap(number))
assert failed == 1
output.close()
"""
    path = tmp_path / "out.jsonl"
    subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=True, timeout=60)
    assert [row["start"] for row in written(path)] == list(range(20))


@posix
def test_lines_are_whole_after_kill_9(tmp_path: Path) -> None:
    script = """
import itertools, sys
from tests.output.test_jsonl import gap, run_info
from daemon.output.jsonl import JsonLines
output = JsonLines(sys.argv[1])
output.open(run_info(live=False))
for number in itertools.count():
    output.publish(gap(number))
"""
    path = tmp_path / "out.jsonl"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT) as child:
        end = time.monotonic() + 30
        while not (path.exists() and path.stat().st_size > 100_000) and time.monotonic() < end:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    data = path.read_bytes()
    assert data.endswith(b"}\n")
    assert [row["start"] for row in written(path)] == list(range(data.count(b"\n")))


@posix
def test_a_reader_that_has_had_enough_ends_standard_output_quietly() -> None:
    script = """
import itertools, sys
from tests.output.test_jsonl import gap, run_info
from daemon.output.base import OutputClosed
from daemon.output.jsonl import JsonLines
output = JsonLines("-")
output.open(run_info(live=False))
try:
    for number in itertools.count():
        output.publish(gap(number))
except OutputClosed:
    output.close()
    sys.exit(7)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert strict(child.stdout.readline().decode())["start"] == 0
        child.stdout.close()
        assert child.wait(30) == 7
        assert child.stderr.read() == b""


@posix
def test_a_terminal_that_has_closed_is_a_reader_that_left() -> None:
    script = """
import errno, sys
from tests.output.test_jsonl import gap, run_info
from daemon.output.jsonl import JsonLines
output = JsonLines("-")
output.open(run_info(live=False))
output.publish(gap(0))
sys.stdin.readline()
try:
    output.publish(gap(1))
except OSError as error:
    sys.exit(7 if error.errno == errno.ENXIO else str(error))
"""
    master, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=terminal
    ) as child:
        os.close(terminal)
        assert os.read(master, 10).startswith(b'{"type"')
        os.close(master)
        child.communicate(b"closed\n", 30)
        assert child.returncode == 7


@posix
def test_a_descriptor_that_does_not_wait_is_waited_for() -> None:
    from daemon.base.descriptor import write_whole

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    script = "import sys; print(len(sys.stdin.buffer.read()))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=reader, stdout=subprocess.PIPE
    ) as child:
        os.close(reader)
        write_whole(writer, b"x" * 1_000_000)
        os.close(writer)
        assert child.stdout is not None
        assert int(child.stdout.read()) == 1_000_000
