"""`intentd replay` end to end: real processes, a real (tiny) network, real files.

The process costs seconds to start, so what can be shown in one process is: `run` is the same
function that the process calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.making import TINY_LABELS, speechlike, write_wav

from daemon.cli import run

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
Line = dict[str, Any]


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings: a.wav at 16 kHz, b.wav at 44.1 kHz in stereo, c.wav at 8 kHz, and broken ones."""
    folder = tmp_path_factory.mktemp("sounds")
    write_wav(folder / "a.wav", speechlike(4.5, 16000, seed=1))
    left, right = speechlike(6.0, 44100, seed=2), speechlike(6.0, 44100, seed=3)
    write_wav(folder / "b.wav", np.stack([left, right], axis=1), 44100)
    write_wav(folder / "c.wav", speechlike(5.0, 8000, seed=4), 8000)
    (folder / "text.wav").write_text("this is no sound at all, whatever its name may say")
    (folder / "empty.wav").touch()
    (folder / "folder.wav").mkdir()
    whole = (folder / "a.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but ours; the recordings in the working directory."""
    monkeypatch.chdir(sounds)
    for name in [name for name in os.environ if name.startswith("INTENTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # More threads than the machine has to spare make each other wait.
    monkeypatch.setenv("INTENTD_MODEL__THREADS", "1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *arguments]


def lines_of(text: str) -> list[Line]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def replay(model: Path, tmp_path: Path, *arguments: str, status: int = 0) -> list[Line]:
    """The JSON lines of a replay in this process."""
    out = tmp_path / "out.jsonl"
    out.unlink(missing_ok=True)
    got = run(["replay", *arguments, "--model", str(model), "--headless", "--jsonl", str(out)])
    assert got == status
    return lines_of(out.read_text())


def of_stream(lines: list[Line], stream: str) -> list[Line]:
    return [line for line in lines if line["stream"] == stream]


def same(one: list[Line], other: list[Line]) -> None:
    """The same lines, latency apart; probabilities to within 0.001."""
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        a, b = dict(first), dict(second)
        for line in (a, b):
            line.pop("latency_ms", None)
        for key in ("score", "scores", "rolling", "top"):
            assert _close(a.pop(key, None), b.pop(key, None)), (key, a, b)
        assert a == b


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 0.001
    return bool(a == b)


@pytest.fixture(scope="session")
def alone(
    word_model: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Line]]:
    """The lines of each recording replayed by itself, as fast as it goes; one in a process."""
    rest = ["--speed", "max", "--model", str(word_model), "--set", "model.threads=1"]
    result = subprocess.run(
        command("replay", "a.wav", *rest, "--jsonl", "-"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=sounds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stderr) == (0, "")
    out = tmp_path_factory.mktemp("alone") / "b.jsonl"
    with contextlib.chdir(sounds):
        assert run(["replay", "b.wav", *rest, "--jsonl", str(out), "--headless"]) == 0
    return {"a.wav": lines_of(result.stdout), "b.wav": lines_of(out.read_text())}


# ---- a replay repeats ---------------------------------------------------------------------------


def test_the_lines_are_those_of_the_contract(alone: dict[str, list[Line]]) -> None:
    lines = alone["a.wav"]
    kinds = {line["type"] for line in lines}
    assert kinds == {"prediction", "event", "summary"}
    predictions = [line for line in lines if line["type"] == "prediction"]
    assert [p["start"] for p in predictions] == [round(0.24 * k, 3) for k in range(19)]
    assert {p["gated"] for p in predictions} == {True, False}
    for line in predictions:
        assert list(line) == [
            "type", "stream", "start", "end", "intent", "score", "scores", "rolling", "gated",
            "latency_ms",
        ]  # fmt: skip
        assert tuple(line["rolling"]) == TINY_LABELS
        assert line["end"] == pytest.approx(line["start"] + 1.0)
        if line["gated"]:
            assert line["intent"] is line["score"] is line["scores"] is line["latency_ms"] is None
        else:
            assert sum(line["scores"].values()) == pytest.approx(1.0, abs=1e-4)
            assert line["score"] == max(line["rolling"].values())
    summary = lines[-1]
    assert list(summary)[:6] == ["type", "stream", "seconds", "windows", "gated", "events"]
    assert summary["windows"] == len(predictions)
    assert summary["events"] == sum(line["type"] == "event" for line in lines) > 0
    assert summary["samples_captured"] == round(4.5 * 16000)
    assert summary["samples_captured"] == summary["samples_classified"] + summary["samples_gated"]
    assert summary["samples_lost"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "1"],
        ["--speed", "2.5", "--set", "audio.block_ms=4"],
        ["--speed", "max", "--set", "audio.block_ms=4"],  # 64 samples
        ["--speed", "max", "--set", "audio.block_ms=312.5"],  # 5,000 samples
        ["--speed", "max", "--set", "model.max_batch=1"],
    ],
    ids=["speed 1", "speed 2.5", "blocks of 64", "blocks of 5000", "one by one"],
)
def test_a_replay_repeats_at_any_speed_and_in_any_blocks(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path, arguments: list[str]
) -> None:
    begun = time.monotonic()
    lines = replay(word_model, tmp_path, "a.wav", *arguments)
    took = time.monotonic() - begun
    same(lines, alone["a.wav"])
    if arguments[1] == "1":
        assert took >= 4.5


def test_a_replay_repeats_beside_others(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path
) -> None:
    lines = replay(word_model, tmp_path, "c.wav", "b.wav", "a.wav", "c.wav", "--speed", "max")
    same(of_stream(lines, "a.wav"), alone["a.wav"])
    same(of_stream(lines, "b.wav"), alone["b.wav"])


def test_settings_reach_the_path(word_model: Path, tmp_path: Path) -> None:
    usual = replay(word_model, tmp_path, "c.wav", "--speed", "max")
    off = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "gate.kind=off")
    assert usual[-1]["gated"] > 0 and off[-1]["gated"] == 0
    hop = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "window.hop=0.5")
    assert [p["start"] for p in hop if p["type"] == "prediction"][:3] == [0.0, 0.5, 1.0]
    deaf = replay(
        word_model, tmp_path, "c.wav", "--speed", "max",
        "--set", "events.threshold=1", "--set", "events.thresholds.up=1",
    )  # fmt: skip
    assert usual[-1]["events"] > 0 and deaf[-1]["events"] == 0
    wide = replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "rolling.windows=9")
    assert [w["rolling"] for w in wide[:-1] if "rolling" in w] != [
        u["rolling"] for u in usual[:-1] if "rolling" in u
    ]
    right = replay(word_model, tmp_path, "b.wav", "--speed", "max", "--set", "audio.channel=2")
    mixed = replay(word_model, tmp_path, "b.wav", "--speed", "max")
    assert right != mixed


def test_overruling_the_model_is_warned_of(
    word_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(word_model, tmp_path, "c.wav", "--speed", "max", "--set", "gate.kind=off")
    assert '--set gate.kind sets gate.kind = "off" in place of the "energy"' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("left", "seconds"), [(0.0, 6.0), (1e-4, 6.0), (1e-2, 6.0), (1e-4, 0.8)])
def test_channels_that_cancel_are_one_warning_and_not_a_quiet_one_too(
    word_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    left: float,
    seconds: float,
) -> None:
    """What channels that cancel leave is quiet: the volume is not at fault.

    left: amplitude of what does not cancel.
    """
    sound = speechlike(seconds, 16000, seed=5) * np.float32(0.3)
    rest = (left * np.random.default_rng(1).standard_normal(len(sound))).astype(np.float32)
    write_wav(tmp_path / "inverted.wav", np.stack([sound, rest - sound], axis=1))
    arguments = ("--speed", "max", "--set", "gate.kind=silero")
    replay(word_model, tmp_path, str(tmp_path / "inverted.wav"), *arguments)
    warnings = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "warning" in line and "gate.kind" not in line
    ]
    assert len(warnings) == 1, warnings
    assert "the channels cancel each other" in warnings[0]


# ---- how it ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["text.wav"], "text.wav"),
        (["empty.wav"], "empty.wav is empty"),
        (["folder.wav"], "folder.wav is a directory"),
        (["missing.wav"], "missing.wav"),
        (["-", "-"], "standard input"),
        (["a.wav", "--model", "nowhere"], "nowhere"),
        (["a.wav", "--set", "window.seconds=0.1", "--set", "window.hop=0.2"], "window.hop"),
        (["a.wav", "--set", "events.thresholds.upp=0.5"], "did you mean up?"),
        (["a.wav", "--set", "model.backend=steam"], "steam"),
        (["a.wav", "--set", "audio.channel=2"], "a.wav"),
        (["a.wav", "--jsonl", "nowhere/out.jsonl"], "nowhere/out.jsonl"),
    ],
)
def test_what_cannot_be_started_is_one_sentence_and_status_2(
    word_model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    model = [] if "--model" in arguments else ["--model", str(word_model)]
    assert run(["replay", *arguments, *model, "--speed", "max"]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("intentd: ") and part in line
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["b.wav", "--jsonl", "b.wav"], "that is the recording"),
        (["a.wav", "b.wav", "--jsonl", "./b.wav"], "that is the recording"),
        (["b.wav", "--jsonl", "link"], "that is the recording"),
        (["--jsonl", "b.wav", "a.wav"], "holds something else"),  # the file's name forgotten
    ],
)
def test_json_lines_do_not_replace_a_recording(
    word_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    part: str,
) -> None:
    for name in ("a.wav", "b.wav"):
        shutil.copy(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("b.wav")
    before = Path("b.wav").read_bytes()
    rest = ["--speed", "max", "--headless", "--model", str(word_model)]
    assert run(["replay", *rest, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line and arguments[arguments.index("--jsonl") + 1] in line
    assert Path("b.wav").read_bytes() == before


def test_json_lines_do_not_replace_what_is_read_from_standard_input(
    word_model: Path, tmp_path: Path
) -> None:
    shutil.copy("a.wav", tmp_path)
    before = Path("a.wav").read_bytes()
    with (tmp_path / "a.wav").open("rb") as sound:
        result = subprocess.run(
            command("replay", "-", "--jsonl", "a.wav", "--model", str(word_model)),
            stdin=sound,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert result.returncode == 2 and "that is the recording" in result.stderr
    assert (tmp_path / "a.wav").read_bytes() == before


def test_one_bad_recording_does_not_stop_the_others(
    alone: dict[str, list[Line]],
    word_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = replay(word_model, tmp_path, "text.wav", "a.wav", "cut.wav", "--speed", "max", status=1)
    same(of_stream(lines, "a.wav"), alone["a.wav"])
    cut = of_stream(lines, "cut.wav")
    assert 2.0 < cut[-1]["seconds"] < 2.5  # what could be read counts
    assert not of_stream(lines, "text.wav")
    said = capsys.readouterr().err
    assert "text.wav is not a recording" in said
    assert "cut.wav ends before its time" in said


def test_remarks_of_the_decoders_library_are_kept_away(word_model: Path, tmp_path: Path) -> None:
    """libmpg123 makes them on descriptor 2 itself, while a file that was cut is opened."""
    import soundfile

    soundfile.write(tmp_path / "whole.mp3", speechlike(6.0, 16000), 16000)
    whole = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) // 2])
    result = subprocess.run(
        command(
            *("replay", str(tmp_path / "cut.mp3"), "--speed", "max", "--headless"),
            *("--model", str(word_model)),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("intentd: error: ") and "cut.mp3 is damaged" in line


def test_only_lines_of_the_types_asked_for_are_written(
    alone: dict[str, list[Line]], word_model: Path, tmp_path: Path
) -> None:
    some = ["--set", "output.types=event,summary"]
    lines = replay(word_model, tmp_path, "a.wav", "--speed", "max", *some)
    same(lines, [line for line in alone["a.wav"] if line["type"] in {"event", "summary"}])
    assert [line["type"] for line in lines].count("event") > 0


def test_standard_input_is_a_stream(alone: dict[str, list[Line]], word_model: Path) -> None:
    with Path("a.wav").open("rb") as sound:
        result = subprocess.run(
            command("replay", "-", "--speed", "max", "--jsonl", "-", "--model", str(word_model)),
            stdin=sound,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert (result.returncode, result.stderr) == (0, "")
    lines = lines_of(result.stdout)
    assert {line["stream"] for line in lines} == {"-"}
    same([{**line, "stream": "a.wav"} for line in lines], alone["a.wav"])


def test_a_reader_who_has_had_enough_ends_it_quietly(word_model: Path) -> None:
    """`| head -1`, with more to say than a pipe holds."""
    many = ["b.wav"] * 12
    with subprocess.Popen(
        command("replay", *many, "--speed", "max", "--jsonl", "-", "--model", str(word_model)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert json.loads(child.stdout.readline())["type"] == "prediction"
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--jsonl", "/dev/full"], "JSON lines to /dev/full"),
        (["--jsonl", "-"], "JSON lines to standard output"),
        ([], "plain lines"),
    ],
)
def test_a_full_disk_is_no_success_and_what_it_cost_is_reported(
    alone: dict[str, list[Line]], word_model: Path, arguments: list[str], name: str
) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command(
                *("replay", "a.wav", "--speed", "max", "--headless"),
                *("--model", str(word_model), *arguments),
            ),
            stdout=full if "/dev/full" not in arguments else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert result.returncode == 1
    *_, switched_off, last = result.stderr.splitlines()
    assert f"{name}: switched off, no space left on device" in switched_off
    lines = [line for line in alone["a.wav"] if arguments or line["type"] in {"event", "summary"}]
    assert last == (
        f"intentd: {name}: {len(lines)} messages lost, no space left on device; "
        "mend that and replay again"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.timed
def test_signals_end_a_real_process(word_model: Path, tmp_path: Path) -> None:
    """SIGINT 130 and SIGTERM 0, with summaries and whole lines, within two seconds."""
    children = []
    for number in (signal.SIGINT, signal.SIGTERM):
        out = tmp_path / f"{number}.jsonl"
        child = subprocess.Popen(
            command(
                "replay", "b.wav", "a.wav", "--speed", "0.2",
                "--jsonl", str(out), "--model", str(word_model), "--headless",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        children.append((number, out, child))
    for number, out, child in children:
        until = time.monotonic() + 60
        while not (out.exists() and out.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        begun = time.monotonic()
        child.send_signal(number)
        said = child.communicate(timeout=30)
        assert time.monotonic() - begun < 2.0
        assert child.returncode == (130 if number == signal.SIGINT else 0), said
        summaries = [line for line in lines_of(out.read_text()) if line["type"] == "summary"]
        assert {line["stream"] for line in summaries} == {"a.wav", "b.wav"}
        for line in summaries:
            assert line["samples_captured"] == line["samples_classified"] + line["samples_gated"]


def test_headless_says_events_and_a_summary_on_standard_output(
    alone: dict[str, list[Line]], word_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "a.wav", "--speed", "max", "--model", str(word_model), "--headless"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    events = [line for line in alone["a.wav"] if line["type"] == "event"]
    lines = said.out.splitlines()
    assert [line.split()[1] for line in lines[: len(events)]] == [e["intent"] for e in events]
    top = alone["a.wav"][-1]["top"][0]["intent"]
    assert lines[len(events)].startswith(f"a.wav: {top} ")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX terminal")
@pytest.mark.timed
def test_on_a_terminal_the_dashboard_pauses_and_quits(word_model: Path, tmp_path: Path) -> None:
    """On a real (pseudo) terminal: space holds the recording, q ends with 0 and a summary, and the
    terminal is as it was."""
    import pty
    import select
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        command(
            *("replay", "b.wav", "c.wav", "--speed", "1", "--model", str(word_model)),
            *("--jsonl", str(out), "--set", f"output.log={tmp_path / 'intentd.log'}"),
        ),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
    ) as child:
        seen = b""

        def read(seconds: float, until: bytes | None = None) -> None:
            nonlocal seen
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and not (until and until in seen):
                if select.select([master], [], [], left)[0]:
                    seen += os.read(master, 65536)

        read(60, b"\x1b[?1049h")
        assert b"\x1b[?1049h" in seen
        read(1.2)
        os.write(master, b" ")
        read(0.6)
        held = out.read_bytes()
        read(1.5)
        assert out.read_bytes() == held != b""
        os.write(master, b" ")
        read(1.0)
        assert len(out.read_bytes()) > len(held)
        os.write(master, b"q")
        begun = time.monotonic()
        read(10, b"c.wav: ")
        assert child.wait(10) == 0
        assert time.monotonic() - begun < 2.0
        read(0.2)
    assert termios.tcgetattr(slave) == before
    after = seen.rpartition(b"\x1b[?1049l")[2].decode()
    assert "b.wav: " in after and "samples captured" in after and "Traceback" not in after
    summaries = [line for line in lines_of(out.read_text()) if line["type"] == "summary"]
    assert len(summaries) == 2
    os.close(master)
    os.close(slave)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX terminal")
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        # The log that is not asked for lies in the user's folder, which can't be written here.
        ([], 1, "intentd: error: cut.wav ends before its time"),
        (["output.log=cut.wav/x.log"], 2, "intentd: output.log is cut.wav/x.log, which can't be"),
    ],
)
def test_what_went_wrong_is_reported_when_the_dashboard_has_gone(
    word_model: Path, options: list[str], status: int, said: str
) -> None:
    import pty

    master, slave = pty.openpty()
    more = [part for option in options for part in ("--set", option)]
    with subprocess.Popen(
        command("replay", "cut.wav", "--speed", "max", "--model", str(word_model), *more),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={
            **os.environ,
            **{"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "XDG_STATE_HOME": os.devnull},
        },
    ) as child:
        os.close(slave)
        seen = b""
        with contextlib.suppress(OSError):  # EIO is how a terminal ends
            while block := os.read(master, 65536):
                seen += block
        assert child.wait(10) == status
    assert said in seen.rpartition(b"\x1b[?1049l")[2].decode()
    os.close(master)


def test_the_lines_do_not_depend_on_how_many_batches_run_at_once(
    word_model: Path, tmp_path: Path
) -> None:
    """Byte for byte, latency apart, in the order of all streams together."""
    found = []
    for jobs in ("1", "2", "5"):
        file = tmp_path / f"{jobs}.jsonl"
        arguments = ["a.wav", "b.wav", "c.wav", "--speed", "max", "--headless", "--jobs", jobs]
        assert run(["replay", *arguments, "--model", str(word_model), "--jsonl", str(file)]) == 0
        found.append([without_latency(json.loads(line)) for line in file.open()])
    assert {line["stream"] for line in found[0]} == {"a.wav", "b.wav", "c.wav"}
    assert found[1] == found[0]
    assert found[2] == found[0]


def without_latency(line: Line) -> Line:
    return {key: value for key, value in line.items() if key != "latency_ms"}
