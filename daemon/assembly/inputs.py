"""Opens the microphone and recordings that settings and arguments name."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.assembly.setup import note
from daemon.base.errors import UserError
from daemon.capture.microphone.microphone import Microphone
from daemon.capture.recording.recording import Recording
from daemon.capture.wake import Wake
from daemon.config import AudioSettings

MARGIN_SECONDS = 2.0
"""What a microphone's ring holds beyond the sound that may wait, so that it is the worker that
sheds, in one piece, and not the ring block by block."""
RING_SECONDS = 4.0
"""What a recording's ring holds: one batch of windows, and not more than memory bears."""


def open_microphone(audio: AudioSettings, wake: Wake | None = None) -> Microphone:
    """The microphone of the settings; its ring sets `wake`.

    Raises: UserError if there is none.
    """
    return Microphone(
        audio.device,
        rate=audio.rate,
        channel=audio.channel,
        block_ms=audio.block_ms,
        buffer_seconds=audio.buffer_seconds + MARGIN_SECONDS,
        wake=wake,
        follow_default=audio.follow_default,
    )


def open_recording(path: str, audio: AudioSettings) -> Recording:
    """Open a file, a FIFO, or "-" for standard input.

    Raises: UserError if it can't be read.
    """
    return Recording(path, channel=audio.channel, buffer_seconds=RING_SECONDS)


def open_recordings(
    paths: Sequence[str], audio: AudioSettings
) -> tuple[list[Recording], list[UserError]]:
    """The recordings that can be opened, and the others' errors.

    The errors are on stderr too.

    Raises: UserError if none can be opened, or standard input is named twice.
    """
    if list(paths).count("-") > 1:
        raise UserError("- names standard input, which can be read only once; name it once")
    recordings: list[Recording] = []
    refusals: list[UserError] = []
    for path in paths:
        try:
            recordings.append(open_recording(path, audio))
        except UserError as error:
            refusals.append(error)
    if not recordings and len(refusals) == 1:
        raise refusals[0]
    for refusal in refusals:
        note(str(refusal))
    if not recordings:
        raise UserError("none of the recordings can be replayed; name one that can be read")
    return recordings, refusals
