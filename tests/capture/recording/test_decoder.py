"""The decoder: files, pipes and training get the same samples.

What they refuse, they refuse with the same sentence.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.capture_helpers import noise
from support.decoding import (
    RATE,
    by_file,
    by_training,
    encoded,
    everywhere,
    patched,
    whole,
)

from daemon.capture.recording.content import MemoryContent
from daemon.capture.recording.mpeg import mpeg_links
from daemon.capture.recording.reader import read_whole
from daemon.capture.recording.recording import Recording

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")


# ---- containers and suffixes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("CAF", "ALAC_16"),
        ("VOC", "PCM_16"),
        ("NIST", "PCM_16"),
    ],
)
def test_every_container_under_any_name(tmp_path: Path, kind: str, subtype: str) -> None:
    path = tmp_path / "Aufnahme ü.TXT"
    path.write_bytes(encoded(kind, subtype))
    samples, error, notices = everywhere(path)
    assert error is None and not notices
    # Bit by bit, but for MP3, where soundfile's way to read the whole rounds otherwise.
    np.testing.assert_allclose(samples, whole(path.read_bytes()), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", "is MPEG-4 (m4a, mp4), which cannot be read"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "is Windows Media (wma), which cannot"),
        (b"\x1a\x45\xdf\xa3\x9f", "is Matroska or WebM, which cannot be read here"),
        (b"#!AMR\n", "is AMR, which cannot be read here; convert it to FLAC"),
        (b"\xff\xf1\x50\x80\x2e\x7f\xfc", "is AAC, which cannot be read here; convert it"),
        (b"wvpk", "is WavPack, which cannot be read here; convert it to FLAC"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer and not"),
        (b"path,label\n" * 9000, "is not a recording that can be read"),
        (b"\xff\xfep\0a\0t\0h\0", "is not a recording that can be read"),
        (b"\x89PNG\r\n\x1a\n", "is not a recording that can be read"),
        (b"", "is not a recording that can be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, head: bytes, sentence: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(head + bytes(4000))
    _, error, _ = everywhere(path)
    assert error is not None and error.startswith(sentence)


def test_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    assert everywhere(tmp_path / "a.wav")[1] == "is empty"


# ---- lengths in the header --------------------------------------------------------------------


def mp3_without_header(frames: int = 24000) -> bytes:
    """The frame with the Xing header left out, as streaming recorders do."""
    data = encoded("MP3", "MPEG_LAYER_III", frames)
    (link,) = mpeg_links(MemoryContent(data))
    return data[link.info_end :]


def wav_sized(riff: int, data: int) -> bytes:
    """A WAV whose header has these sizes."""
    return patched(encoded("WAV"), (4, struct.pack("<I", riff)), (40, struct.pack("<I", data)))


def caf_sized(size: int) -> bytes:
    raw = encoded("CAF")
    return patched(raw, (raw.index(b"data") + 4, struct.pack(">q", size)))


def aiff_sized(form: int, frames: int, sound: int) -> bytes:
    raw = encoded("AIFF")
    places = ((4, form), (raw.index(b"COMM") + 10, frames), (raw.index(b"SSND") + 4, sound))
    return patched(raw, *((at, struct.pack(">I", value)) for at, value in places))


def au_sized(size: int) -> bytes:
    return patched(encoded("AU"), (8, struct.pack(">I", size)))


def flac_sized(total: int) -> bytes:
    raw = encoded("FLAC")
    return patched(raw, (21, bytes((raw[21] & 0xF0 | total >> 32,)) + struct.pack(">I", total)))


UNKNOWN: dict[str, Callable[[], bytes]] = {
    "wav 0": lambda: wav_sized(0, 0),
    "wav 36 and 0": lambda: wav_sized(36, 0),
    "wav -1": lambda: wav_sized(0xFFFFFFFF, 0xFFFFFFFF),
    "wav ffmpeg": lambda: wav_sized(0xFFFFFFFF, 0x7FFFFFFF),
    "caf -1": lambda: caf_sized(-1),
    "caf 0": lambda: caf_sized(0),
    "caf 4": lambda: caf_sized(4),
    "aiff 0": lambda: aiff_sized(0, 0, 0),
    "aiff 8": lambda: aiff_sized(0, 0, 8),
    "aiff -1": lambda: aiff_sized(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    "au -1": lambda: au_sized(0xFFFFFFFF),
    "au 0": lambda: au_sized(0),
    "flac 0": lambda: flac_sized(0),
}
TOO_SHORT = {
    "wav": lambda: wav_sized(36 + 3200, 3200),
    "caf": lambda: caf_sized(3204),
    "aiff": lambda: aiff_sized(46 + 3200, 1600, 3208),
    "au": lambda: au_sized(3200),
    "flac": lambda: flac_sized(1600),
}
TOO_LONG = {
    "wav": lambda: wav_sized(10_000_036, 10_000_000),
    "caf": lambda: caf_sized(1 << 40),
    "aiff": lambda: aiff_sized(10_000_000, 5_000_000, 10_000_000),
    "au": lambda: au_sized(10_000_000),
    "flac": lambda: flac_sized(10_000_000),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_length_that_the_writer_did_not_know(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(UNKNOWN[case]())
    samples, error, notices = everywhere(path)
    assert error is None and not notices
    np.testing.assert_array_equal(samples, whole(encoded("FLAC" if "flac" in case else "WAV")))


@pytest.mark.parametrize("case", TOO_SHORT)
def test_a_length_that_is_too_short_is_passed_and_reported(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(TOO_SHORT[case]())
    samples, error, notices = everywhere(path)
    assert error is None
    assert notices == ["is longer than its header says; it was read to its end"]
    np.testing.assert_array_equal(samples, whole(encoded("FLAC" if case == "flac" else "WAV")))


@pytest.mark.parametrize("case", TOO_LONG)
def test_a_length_that_is_too_long_is_an_error(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(TOO_LONG[case]())
    samples, error, _ = everywhere(path)
    assert error is not None and ("before its time, at 1.5 s" in error or "1.5 s of" in error)
    np.testing.assert_array_equal(samples, whole(encoded("FLAC" if case == "flac" else "WAV")))


def test_mp3_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    """libsndfile guesses the length by the first frame: too short or too long."""
    quiet = io.BytesIO()
    sound = np.concatenate([np.zeros((48000, 1), np.float32), noise(48000)])
    soundfile.write(
        quiet, sound, RATE, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE"
    )
    (link,) = mpeg_links(MemoryContent(quiet.getvalue()))
    assert link.declared == link.frames
    path = tmp_path / "a.mp3"
    for data, frames in (
        (mp3_without_header(160_000), 160_000),
        (quiet.getvalue()[link.info_end :], 96_000),
    ):
        path.write_bytes(data)
        count = sum(link.frames for link in mpeg_links(MemoryContent(data)))
        assert frames <= count * 576 <= frames + 4 * 576
        recording = Recording(str(path))
        assert recording.info.seconds == count * 576 / RATE
        samples, error, _ = everywhere(path)
        assert error is None and len(samples) == count * 576
        expected = whole(data)
        np.testing.assert_array_equal(samples[: len(expected)], expected[: len(samples)])


def test_an_mp3_header_that_lies(tmp_path: Path) -> None:
    data = encoded("MP3", "MPEG_LAYER_III")
    at = data.index(b"Info") + 8 if b"Info" in data else data.index(b"Xing") + 8
    (frames,) = struct.unpack_from(">I", data, at)
    path = tmp_path / "a.mp3"
    path.write_bytes(patched(data, (at, struct.pack(">I", frames // 3))))
    samples, error, _ = everywhere(path)
    assert error is None and len(samples) == frames * 576
    path.write_bytes(patched(data, (at, struct.pack(">I", frames * 3))))
    samples, error, _ = everywhere(path)
    assert error is not None and "is damaged: 1.5 s of 4.7 s could be read" in error


# ---- several streams in one file, and bytes around them ---------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("FLAC", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
    ],
)
def test_streams_joined_in_one_file_are_read_one_after_the_other(
    tmp_path: Path, kind: str, subtype: str
) -> None:
    first, second = encoded(kind, subtype), encoded(kind, subtype, 9000)
    path = tmp_path / "a"
    path.write_bytes(first + second + first)
    samples, error, _ = everywhere(path)
    assert error is None
    expected = np.concatenate([whole(first), whole(second), whole(first)])
    np.testing.assert_allclose(samples, expected, atol=1e-6)
    path.write_bytes(first + encoded(kind, subtype, 9000, 2, 48000))
    samples, error, _ = everywhere(path)
    assert error is not None
    assert error.startswith("goes on at 1.5 s with a recording of 48000 Hz and 2 channels")


def test_mp3_streams_without_headers_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3_without_header() + mp3_without_header())
    samples, error, _ = everywhere(path)
    assert error is None and len(samples) >= 48000


ID3 = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
APE = b"APETAGEX\xd0\x07\0\0\x40\0\0\0\1\0\0\0\0\0\0\xa0" + bytes(8 + 32)


@pytest.mark.parametrize("junk", [ID3, b"xyz" * 700, bytes(3000), b"HTTP/1.0 200 OK\r\n\r\n"])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("WAV", "PCM_16")],
)
def test_bytes_ahead_of_the_recording(tmp_path: Path, junk: bytes, kind: str, subtype: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(junk + encoded(kind, subtype))
    samples, error, _ = everywhere(path)
    assert error is None
    np.testing.assert_allclose(samples, whole(encoded(kind, subtype)), atol=1e-6)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), APE, APE + b"TAG" + bytes(125), bytes(500)])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("WAV", "PCM_16")],
)
def test_tags_behind_the_recording(tmp_path: Path, tail: bytes, kind: str, subtype: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(encoded(kind, subtype) + tail)
    samples, error, notices = everywhere(path)
    assert error is None and not notices
    np.testing.assert_allclose(samples, whole(encoded(kind, subtype)), atol=1e-6)


# ---- chunks of WAV ----------------------------------------------------------------------------


def chunk(name: bytes, body: bytes, pad: bool = True) -> bytes:
    return name + struct.pack("<I", len(body)) + body + (b"\0" if pad and len(body) % 2 else b"")


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(
    align: int = 2, bits: int = 16, channels: int = 1, code: int = 1, more: bytes = b""
) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, RATE, 32000, align, bits) + more)


PCM = encoded("WAV")[44:]
DATA = chunk(b"data", PCM)
EXTENSION = struct.pack("<HHIH", 22, 16, 4, 1) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
WAVS = {
    "wrong block align": riff(fmt(align=1), DATA),
    "block align 0": riff(fmt(align=0), DATA),
    "odd chunk with its pad byte": riff(
        chunk(b"LIST", b"abc"), fmt(), chunk(b"bext", b"x" * 603), DATA
    ),
    "odd chunk without": riff(
        chunk(b"LIST", b"abc", False), fmt(), chunk(b"bext", b"x" * 603, False), DATA
    ),
    "bytes between chunks": riff(fmt(), b"\0\0\0\0\0\0", DATA),
    "fact ahead of the format": riff(chunk(b"fact", struct.pack("<I", 24000)), fmt(), DATA),
    "chunks behind": riff(
        fmt(), DATA, chunk(b"LIST", b"INFOISFT" + bytes(9)), chunk(b"id3 ", bytes(301))
    ),
    "extensible": riff(fmt(code=0xFFFE, more=EXTENSION), DATA),
    "12 bits in 16": riff(fmt(bits=12), DATA),
    "long format chunk": riff(fmt(more=b"\0\0"), DATA),
}


@pytest.mark.parametrize("case", WAVS)
def test_chunks_of_wav(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAVS[case])
    samples, error, notices = everywhere(path)
    assert error is None and not notices
    np.testing.assert_array_equal(samples, whole(encoded("WAV")))


def test_big_endian_wav(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(9000), RATE, endian="BIG")
    assert path.read_bytes()[:4] == b"RIFX"
    samples, error, _ = everywhere(path)
    assert error is None
    np.testing.assert_array_equal(samples, whole(path.read_bytes()))


# ---- samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "FLOAT"), ("CAF", "DOUBLE"), ("AU", "FLOAT")]
)
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_floats_in_the_scale_of_integers_are_refused(
    tmp_path: Path, kind: str, subtype: str, bits: int
) -> None:
    path = tmp_path / "a"
    samples = noise(8000) / 0.5
    samples[:1000] = 0
    soundfile.write(path, samples * 2.0 ** (bits - 1), RATE, format=kind, subtype=subtype)
    heard, error, _ = everywhere(path)
    assert error is not None and error.endswith("divide them by that (by 32768 for 16 bits)")
    assert len(heard) < 1010, "nothing of that scale is heard"


def test_a_little_beyond_full_scale_is_clipped_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(8000) * 5, RATE, subtype="FLOAT")
    samples, error, _ = everywhere(path)
    assert error is None
    np.testing.assert_array_equal(samples, np.clip(noise(8000)[:, 0] * 5, -1, 1))


def test_training_leaves_out_what_replay_takes_for_silence(tmp_path: Path) -> None:
    samples = noise(8000)
    samples[100:103] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    assert by_file(path)[1] is None
    assert by_training(str(path))[1] == "holds 3 samples that are not finite numbers"


def test_channels_are_mixed_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encoded("FLAC", channels=2))
    samples, error, _ = everywhere(path)
    assert error is None
    content = MemoryContent(path.read_bytes())
    np.testing.assert_array_equal(samples, read_whole(content)[0])
    np.testing.assert_allclose(samples, whole(path.read_bytes()).mean(axis=1), atol=1e-7)
