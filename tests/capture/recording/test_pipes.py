"""Recordings through pipes: the samples of the file, or its sentence."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.capture_helpers import noise, read_all, write

from daemon.base.errors import UserError
from daemon.capture.recording.recording import Recording

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and permissions")
WAV_KINDS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "ALAW"),
    ("WAVEX", "PCM_24"),
    ("WAVEX", "FLOAT"),
    ("RF64", "PCM_16"),
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def piped(path: Path, command: str = "cat {} ") -> tuple[np.ndarray, str | None]:
    """What a real process hears when `path` comes through its standard input."""
    program = (
        "import sys, numpy as np\n"
        "from daemon.capture.recording.recording import Recording\n"
        "from support.capture_helpers import read_all\n"
        "r = Recording('-')\n"
        "x = read_all(r, 333)\n"
        "sys.stderr.write(r.error or '')\n"
        "sys.stdout.buffer.write(x.tobytes())\n"
    )
    line = f"{command.format(path)} | {sys.executable} -c {repr_shell(program)}"
    done = subprocess.run(
        line, shell=True, capture_output=True, check=True, timeout=60, env=ENVIRONMENT
    )
    return np.frombuffer(done.stdout, np.float32), done.stderr.decode() or None


def repr_shell(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


@POSIX
@pytest.mark.parametrize(("kind", "subtype"), WAV_KINDS)
def test_a_pipe_gives_what_the_file_gives(tmp_path: Path, kind: str, subtype: str) -> None:
    path = write(tmp_path / "a.wav", noise(8000, 2), 22050, subtype, kind)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()))
    writer.start()
    recording = Recording(str(fifo), channel=2)
    heard = read_all(recording, 300)
    writer.join()
    assert recording.blocking
    assert recording.error is None
    np.testing.assert_array_equal(heard, read_all(Recording(str(path), channel=2)))


@POSIX
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF024, 0x80000000, 0xFFFFFFFF])
def test_a_pipe_of_unknown_length_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", noise(5000))
    raw = bytearray(path.read_bytes())
    assert raw[36:40] == b"data"
    raw[4:8] = raw[40:44] = struct.pack("<I", size)
    (tmp_path / "b.wav").write_bytes(raw)
    heard, error = piped(tmp_path / "b.wav")
    assert error is None
    np.testing.assert_array_equal(heard, read_all(Recording(str(path))))


@POSIX
@pytest.mark.skipif(shutil.which("sox") is None, reason="needs sox")
def test_sox_through_a_pipe(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(5000))
    heard, error = piped(path, "sox {} -t wav - 2>/dev/null")
    assert error is None
    np.testing.assert_allclose(heard, read_all(Recording(str(path))), atol=1e-4)


@POSIX
def test_standard_input_may_be_a_file_of_any_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(5000))
    program = (
        "from daemon.capture.recording.recording import Recording\n"
        "from support.capture_helpers import read_all\n"
        "r = Recording('-'); print(len(read_all(r)), r.blocking, r.error)"
    )
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=file,
            capture_output=True,
            text=True,
            check=True,
            env=ENVIRONMENT,
        )
    assert done.stdout.split() == ["5000", "False", "None"]


@POSIX
def test_a_pipe_is_decoded_as_it_arrives(tmp_path: Path) -> None:
    """The first samples are there although the writer holds back the rest."""
    path = write(tmp_path / "a.wav", noise(4000))
    raw = path.read_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    go_on = threading.Event()

    def writer() -> None:
        with fifo.open("wb", buffering=0) as file:
            file.write(raw[: 44 + 2001])  # a thousand samples and half of one
            go_on.wait(10)
            file.write(raw[44 + 2001 :])

    thread = threading.Thread(target=writer)
    thread.start()
    recording = Recording(str(fifo))
    first = recording.read(4000)
    assert first is not None
    assert len(first) == 1000
    go_on.set()
    rest = read_all(recording)
    thread.join()
    np.testing.assert_array_equal(
        np.concatenate([first[:, 0], rest]), read_all(Recording(str(path)))
    )


@POSIX
def test_waiting_for_a_fifo_can_be_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    since = time.monotonic()
    with pytest.raises(UserError, match="fifo sent nothing"):
        Recording(str(fifo), cancelled=lambda: time.monotonic() - since > 0.3)
    assert 0.3 < time.monotonic() - since < 2


@POSIX
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"fLaC" * 100, "is not a recording that can be read"),
        (b"hello world " * 20000, "is not a recording that can be read"),
        (b"RIFF\xff\xff\xff\xffWAVEdata\0\0\0\0", "before it says their format"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\x7f" + bytes(100), "first 16 MiB"),
        (b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\0\0" + bytes(100), "ends before any sound"),
        (
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 0, 1, 1, 0, 16),
            "damaged header",
        ),
        (
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 0x55, 1, 1, 1, 0, 0),
            "format 85",
        ),
    ],
)
def test_what_is_no_recording_in_a_pipe_is_refused_as_a_file_is(
    tmp_path: Path, content: bytes, match: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def writer() -> None:
        with fifo.open("wb") as file, contextlib.suppress(BrokenPipeError):
            file.write(content)

    thread = threading.Thread(target=writer)
    thread.start()
    with pytest.raises(UserError, match=match) as caught:
        Recording(str(fifo))
    thread.join()
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        Recording(str(path))
    assert str(refused.value) == str(caught.value).replace("fifo", "file")


@POSIX
def test_a_truncated_pipe_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(5000))
    path.write_bytes(path.read_bytes()[:-1001])
    heard, error = piped(path)
    assert len(heard) == 4499
    assert error == "standard input ends before its time, at 0.3 s"
