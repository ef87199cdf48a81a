"""Recordings: all that libsndfile reads, and one sentence for the rest."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
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
OTHER_KINDS = [
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "PCM_16"),
    ("W64", "PCM_16"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("CAF", "ALAC_16"),
]
MONO_KINDS = [("WAV", "GSM610"), ("XI", "DPCM_16"), ("VOC", "PCM_16")]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize(("kind", "subtype"), WAV_KINDS + OTHER_KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_block_by_block_equals_the_whole_file(
    tmp_path: Path, kind: str, subtype: str, channels: int
) -> None:
    path = write(tmp_path / "a.bin", noise(24000, channels), 24000, subtype, kind)
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    recording = Recording(str(path))
    assert recording.info.rate == 24000
    assert recording.info.channels == channels
    assert recording.info.seconds == pytest.approx(1.0, abs=0.2)
    assert not recording.info.live
    heard = read_all(recording, 997)
    assert recording.error is None
    np.testing.assert_allclose(heard, np.clip(whole, -1, 1).mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("kind", "subtype"), MONO_KINDS)
def test_kinds_that_cannot_be_sought_in(tmp_path: Path, kind: str, subtype: str) -> None:
    path = write(tmp_path / "a.bin", noise(8000), 8000, subtype, kind)
    recording = Recording(str(path))
    heard = read_all(recording, 977)
    assert recording.error is None
    assert 8000 <= len(heard) < 8400, "GSM fills its last frame up"
    assert np.corrcoef(heard[:8000], noise(8000)[:, 0])[0, 1] > 0.95


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000, 192000])
def test_rates(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(500), rate)
    assert Recording(str(path)).info.rate == rate


@pytest.mark.parametrize("rate", [1, 4000, 10_000_000])
def test_absurd_rates_are_refused(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(500), rate)
    with pytest.raises(UserError, match=rf"a\.wav has a rate of {rate} Hz"):
        Recording(str(path))


def test_a_channel_is_picked_and_a_missing_one_named(tmp_path: Path) -> None:
    samples = noise(3000, 6)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    for channel in (1, 4, 6):
        np.testing.assert_array_equal(
            read_all(Recording(str(path), channel=channel)), samples[:, channel - 1]
        )
    np.testing.assert_allclose(
        read_all(Recording(str(path), channel="mix")), samples.mean(axis=1), atol=1e-7
    )
    with pytest.raises(UserError, match=r"a\.wav has channels 1 to 6, not channel 7"):
        Recording(str(path), channel=7)


def test_more_channels_than_anybody_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(200, 512), subtype="PCM_16")
    assert len(read_all(Recording(str(path)))) == 200


def test_samples_that_are_no_numbers_are_silence_and_reported(tmp_path: Path) -> None:
    samples = noise(3000)
    samples[10:13] = np.nan
    samples[20] = np.inf
    samples[21] = -np.inf
    samples[30] = 3.0
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    recording = Recording(str(path))
    heard = read_all(recording)
    assert recording.error is None
    (notice,) = recording.notices
    assert "5 samples that are no numbers" in notice
    assert (heard[10:13] == 0).all()
    assert (heard[20:22] == 0).all()
    assert heard[30] == 1.0
    np.testing.assert_array_equal(heard[40:], samples[40:, 0])


def test_damage_in_the_middle_keeps_what_was_before_it(tmp_path: Path) -> None:
    samples = noise(160_000)
    path = write(tmp_path / "a.flac", samples)
    intact = read_all(Recording(str(path)))
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(raw)
    recording = Recording(str(path))
    heard = read_all(recording)
    assert recording.error is not None
    assert "a.flac is damaged at " in recording.error
    assert len(heard) % 4096 == 0, "whole FLAC frames ahead of the damage are kept"
    assert 60_000 < len(heard) < 100_000
    np.testing.assert_array_equal(heard, intact[: len(heard)])


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "wav", "aiff", "au", "w64", "rf64"])
def test_a_truncated_file_is_named_and_read_as_far_as_it_goes(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", noise(320_000))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    recording = Recording(str(path))
    heard = read_all(recording)
    assert 100_000 < len(heard) < 220_000
    assert recording.error is not None
    assert f"a.{kind}" in recording.error


def ogg_pages(raw: bytes) -> list[bytes]:
    pages = []
    while raw:
        size = 27 + raw[26] + sum(raw[27 : 27 + raw[26]])
        pages.append(raw[:size])
        raw = raw[size:]
    return pages


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_is_whole_if_its_last_page_ends_a_stream(tmp_path: Path, subtype: str) -> None:
    def error_of(*pages: bytes) -> str | None:
        path.write_bytes(b"".join(pages))
        recording = Recording(str(path))
        read_all(recording)
        recording.close()
        return recording.error

    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(320_000), 16000, format="OGG", subtype=subtype)
    pages = ogg_pages(path.read_bytes())
    soundfile.write(path, noise(160_000), 16000, format="OGG", subtype="VORBIS")
    other = ogg_pages(path.read_bytes())
    assert error_of(*pages) is None
    assert error_of(*pages, b"TAG", bytes(125)) is None
    # One after the other, and side by side, whichever ends first.
    assert error_of(*pages, *other) is None
    assert error_of(pages[0], other[0], *other[1:], *pages[1:]) is None
    assert error_of(pages[0], other[0], *pages[1:], *other[1:]) is None
    last = pages[-1]
    for ending in (b"", last[:3], last[:20], last[: 27 + last[26] - 1], last[:-1]):
        assert "a.ogg ends before its time, at " in str(error_of(*pages[:-1], ending))
    assert error_of(*pages, *other[:-1]) is not None


def test_a_wav_whose_recorder_died_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(5000))
    whole = read_all(Recording(str(path)))
    raw = bytearray(path.read_bytes())
    for riff_size in (0, 36):
        raw[4:8] = struct.pack("<I", riff_size)
        raw[40:44] = bytes(4)
        path.write_bytes(raw)
        recording = Recording(str(path))
        np.testing.assert_array_equal(read_all(recording), whole)
        assert recording.error is None


def test_what_is_no_recording_is_one_sentence_with_its_name(tmp_path: Path) -> None:
    def refused(name: str, match: str) -> None:
        with pytest.raises(UserError, match=match) as caught:
            Recording(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert name.replace("\n", "\\n") in str(caught.value)
        assert caught.value.status == 2

    (tmp_path / "text.wav").write_text("hello, I am no recording at all " * 40)
    refused("text.wav", "not a recording that can be read")
    (tmp_path / "empty.wav").write_bytes(b"")
    refused("empty.wav", "is empty")
    refused("nowhere.wav", "no such file")
    refused("new\nline.wav", "no such file")
    (tmp_path / "folder.wav").mkdir()
    refused("folder.wav", "is a directory")
    write(tmp_path / "silent.wav", noise(0))
    refused("silent.wav", "holds no sound")
    raw = bytearray((tmp_path / "silent.wav").read_bytes()[:44]) + b"LIST\x04\0\0\0abcd"
    raw[4:8], raw[40:44] = struct.pack("<I", len(raw) - 8), bytes(4)
    (tmp_path / "list.wav").write_bytes(raw)
    refused("list.wav", "holds no sound")
    (tmp_path / "short.wav").write_bytes(b"RIFF\x04\0\0\0WAVE")
    refused("short.wav", "not a recording that can be read")


@POSIX
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(100))
    path.chmod(0)
    with pytest.raises(UserError, match="permission denied"):
        Recording(str(path))
    path.chmod(stat.S_IRUSR)


@POSIX
def test_undecodable_names_are_read_and_can_be_printed(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/na\xffme.wav")
    shutil.copy(write(tmp_path / "a.wav", noise(100)), path)
    recording = Recording(path)
    assert len(read_all(recording)) == 100
    recording.name.encode("utf-8")


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    kind=st.sampled_from(WAV_KINDS + OTHER_KINDS + MONO_KINDS),
)
def test_hostile_bytes_are_decoded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: tuple[str, str]
) -> None:
    """Bytes changed, cut out or put in: decoded or refused by a sentence."""
    folder = tmp_path_factory.mktemp("hostile")
    channels = 1 if kind in MONO_KINDS else 2
    path = write(folder / "a.bin", noise(4000, channels), 8000, kind[1], kind[0])
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(raw) - 1, 200)))
        junk = data.draw(st.binary(max_size=8))
        raw[at : at + data.draw(st.integers(0, 8))] = junk
    path.write_bytes(raw)
    try:
        recording = Recording(str(path))
    except UserError as error:
        assert "\n" not in str(error)
        return
    heard = read_all(recording, 4096)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max(initial=0) <= 1
