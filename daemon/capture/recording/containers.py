"""Recognises a recording's container by its first bytes."""

from __future__ import annotations

import struct

HEAD = 40
"""Bytes that `container_of` and `foreign` look at: fewer than a WAV has ahead of its samples."""
WAV_MAGICS = (b"RIFF", b"RF64", b"BW64", b"RIFX")

_FOREIGN = (
    (4, b"ftyp", "MPEG-4 (m4a, mp4)"),
    (4, b"moov", "MPEG-4 (m4a, mp4)"),
    (4, b"mdat", "MPEG-4 (m4a, mp4)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (wma)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"ADIF", "AAC"),
    (0, b"MThd", "MIDI"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash video"),
    (8, b"AVI ", "AVI video"),
    (28, b"\x7fFLAC", "FLAC in Ogg"),
    (28, b"Speex   ", "Speex in Ogg"),
    (28, b"\x80theora", "Theora video"),
)
"""(offset, bytes, name) of what libsndfile cannot read."""
_LFS = b"version https://git-lfs"


def container_of(head: bytes) -> str:
    """ "wav", "flac", "ogg", "caf", "aiff", "au", "mpeg", or "" for others."""
    if head[:4] in WAV_MAGICS and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for magic, name in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"caff", "caf"), (b".snd", "au")):
        if head.startswith(magic):
            return name
    mpeg = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0
    return "mpeg" if mpeg else ""


def foreign(head: bytes) -> str | None:
    """Reason and fix for a file that is no recording; completes "NAME …"."""
    if head.startswith(_LFS):
        return "is a Git LFS pointer and not the recording; fetch it with git lfs pull"
    aac = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    for offset, magic, name in ((0, head[:2], "AAC"), *_FOREIGN) if aac else _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            return f"is {name}, which cannot be read here; convert it to FLAC"
    return None


def id3_length(head: bytes) -> int:
    """Length in bytes of a leading ID3v2 tag, 0 without one.

    Source: id3.org, ID3v2.4 section 3.1.
    """
    if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    a, b, c, d = head[6:10]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + (a << 21 | b << 14 | c << 7 | d) + footer


def apev2_length(head: bytes) -> int:
    """Length in bytes of the APEv2 tag that `head` begins with, 0 without one.

    Either its header or its footer may be there.
    """
    if len(head) < 32 or head[:8] != b"APETAGEX":
        return 0
    size, _, flags = struct.unpack_from("<III", head, 12)
    return 32 + size if flags & 0x20000000 else 32
