"""How `intentd replay` ends: with bad recordings, full disks and signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.making import speechlike
from support.replaying import ROOT, Line, command, lines_of, of_stream, replay, same

from daemon.cli import run

pytestmark = pytest.mark.waits


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
    """libmpg123 prints to descriptor 2 itself while a cut file is opened."""
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
    """SIGINT ends with 130, SIGTERM with 0, within two seconds.

    Both write their summaries, and whole lines.
    """
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
