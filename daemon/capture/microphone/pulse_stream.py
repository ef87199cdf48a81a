"""Recording of a PulseAudio source with its own channels.

By libpulse-simple.

PortAudio reaches the sound server through ALSA's plugin, which names channels in an order of its
own. Where the source has other names the server mixes them, and beyond eight channels the plugin
refuses. Here the server is asked for the source's own channel map, so that nothing is mixed.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError

MOST_CHANNELS: Final = 32
"""PA_CHANNELS_MAX."""
_LIBRARY: Final = "libpulse-simple.so.0"
_RECORD: Final = 2
_FLOAT32: Final = 5 if sys.byteorder == "little" else 6
_UNSET: Final = 0xFFFFFFFF
_GOODBYE: Final = 0.3
"""Seconds that `close` waits for the thread."""


class _SampleSpec(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class _ChannelMap(ctypes.Structure):
    _fields_ = (("channels", ctypes.c_uint8), ("map", ctypes.c_int * MOST_CHANNELS))


class _BufferAttributes(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


@dataclass(frozen=True, slots=True)
class BlockTime:
    """Time of a block's first sample, under PortAudio's name."""

    inputBufferAdcTime: float  # noqa: N815


@dataclass(frozen=True, slots=True)
class BlockStatus:
    """The server tells of no overflow; lost sound shows in the clock."""

    input_overflow: bool = False


Callback = Callable[[NDArray[np.float32], int, BlockTime, BlockStatus], None]


class PulseStream:
    """Counterpart of `sounddevice.InputStream` for a source of the server.

    It has what `Microphone` uses.

    source: the server's name of the source; channel_map: its channels as libpulse numbers them.
    rate in Hz (the server resamples); block in frames.
    """

    def __init__(
        self,
        source: str,
        channel_map: tuple[int, ...],
        rate: int,
        block: int,
        callback: Callback | None = None,
        finished_callback: Callable[[], None] | None = None,
    ) -> None:
        """Connects, which takes as long as the server takes to answer.

        Raises: UserError if the library is missing or the server refuses.
        """
        self._rate = rate
        self._block = block
        self._channels = len(channel_map)
        self._callback = callback
        self._finished_callback = finished_callback
        self._stopping = False
        self.active = False
        self._library = _library()
        self._handle: int | None = self._connect(source, channel_map)
        self._thread = threading.Thread(target=self._run, name="pulse-stream", daemon=True)

    def start(self) -> None:
        """Read blocks and hand them to the callback, in a thread of the stream."""
        self.active = True
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        """Stop; a thread that waits for a frozen server is left behind.

        It ends with the server.
        """
        del ignore_errors
        self._stopping = True
        if self._thread.ident is None:
            self._disconnect()
        elif self._thread is not threading.current_thread():
            self._thread.join(_GOODBYE)

    def _connect(self, source: str, channel_map: tuple[int, ...]) -> int:
        spec = _SampleSpec(_FLOAT32, self._rate, self._channels)
        positions = _ChannelMap(self._channels, (ctypes.c_int * MOST_CHANNELS)(*channel_map))
        fragment = self._block * self._channels * ctypes.sizeof(ctypes.c_float)
        attributes = _BufferAttributes(_UNSET, _UNSET, _UNSET, _UNSET, fragment)
        error = ctypes.c_int(0)
        handle = self._library.pa_simple_new(
            None,
            b"intentd",
            _RECORD,
            source.encode(),
            b"microphone",
            ctypes.byref(spec),
            ctypes.byref(positions),
            ctypes.byref(attributes),
            ctypes.byref(error),
        )
        if not handle:
            raise UserError(f"the sound server refuses: {self._reason(error)}")
        return int(handle)

    def _disconnect(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.pa_simple_free(handle)

    def _reason(self, error: ctypes.c_int) -> str:
        describe = ctypes.CDLL("libpulse.so.0").pa_strerror
        describe.restype = ctypes.c_char_p
        text: bytes = describe(error)
        return text.decode(errors="replace").lower()

    def _run(self) -> None:
        error = ctypes.c_int(0)
        size = self._block * self._channels * ctypes.sizeof(ctypes.c_float)
        try:
            while not self._stopping:
                block = np.empty((self._block, self._channels), np.float32)
                place = block.ctypes.data_as(ctypes.c_void_p)
                if self._library.pa_simple_read(self._handle, place, size, ctypes.byref(error)) < 0:
                    break
                if self._stopping or self._callback is None:
                    break
                began = time.monotonic() - self._block / self._rate
                self._callback(block, self._block, BlockTime(began), BlockStatus())
        finally:
            self.active = False
            self._disconnect()
            if self._finished_callback is not None:
                self._finished_callback()


def _library() -> Any:
    """libpulse-simple. Raises UserError if it is not installed."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise UserError(
            f"{_LIBRARY} is missing, without which the channels of this source would be mixed: "
            "install libpulse0 (Debian, Ubuntu) or pulseaudio-libs (Fedora), or set audio.channel "
            "to mix"
        ) from None
    pointer = ctypes.c_void_p
    library.pa_simple_new.restype = pointer
    library.pa_simple_new.argtypes = [
        *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p),
        *(pointer, pointer, pointer, pointer),
    ]
    library.pa_simple_read.argtypes = [pointer, pointer, ctypes.c_size_t, pointer]
    library.pa_simple_free.argtypes = [pointer]
    library.pa_simple_free.restype = None
    return library
