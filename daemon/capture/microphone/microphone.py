"""Records a microphone into a ring, through outages of its device."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.capture.channel_monitor import ChannelMonitor
from daemon.capture.channels import Channel, check_channel
from daemon.capture.microphone.devices import (
    InputDevice,
    Rescan,
    find_input,
    portaudio,
    routed_to,
)
from daemon.capture.microphone.gap_estimator import GapEstimator
from daemon.capture.microphone.opening import (
    Shape,
    channels_to_open,
    check_server,
    choose_rate,
    input_stream,
    refused,
    same_device,
)
from daemon.capture.microphone.pulse import MoveWatch
from daemon.capture.microphone.reports import Reports
from daemon.capture.microphone.supervisor import Action, Observation, State, Supervisor
from daemon.capture.microphone.time_limit import with_time_limit
from daemon.capture.ring import Ring, Settable
from daemon.capture.wake import Wake
from daemon.messages import StreamInfo

log = logging.getLogger(__name__)

_TICK = 0.5
_OPEN_SECONDS = 4.0
"""Time limit for opening the device at the start."""
_STOP_SECONDS = 1.0
"""How long `stop` waits for the microphone's thread."""
_BLOCK_SECONDS = 0.2
"""How long `stop` waits for PortAudio's callback."""
_LOOK_SECONDS = 3.0
"""A look at the device that takes longer waits for a frozen sound server."""
DEVICE_LOST = "device lost"
"""The reason of the gap that an outage makes."""


class Microphone:
    """One input as a stream, which fills its ring from `start` to `stop`.

    device: an index, a part of a name, or None for the default (see `find_input`).
    rate: in Hz; 0 takes 16000 if the device can, else its own.
    channel: "mix" (mixed when the ring is read: `Chunk.mono`) or a number from 1.
    block_ms: length of a block, fixed, since PortAudio's own choice may be 4 frames.
    buffer_seconds: what the ring holds before it sheds the oldest.
    wake: what the ring sets (see `Ring`).
    follow_default: after a loss, take whatever the default is by then, if `device` is None.

    PortAudio's callback copies into the ring and counts; everything slow (opening, closing,
    supervision) happens in a thread of the microphone. A device that is lost is reopened by its
    name, never another one in its place. The clock says how much sound was missed; the ring passes
    that on as a gap.

    Raises: UserError if there is no such input, it can't do the rate, or the sound server does not
    answer.
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        rate: int = 0,
        channel: Channel = "mix",
        block_ms: float = 40.0,
        buffer_seconds: float = 10.0,
        wake: Settable | None = None,
        follow_default: bool = False,
    ) -> None:
        self._unmixed = channel != "mix"
        self._follows = follow_default and device in (None, "", "default")

        def choose() -> tuple[InputDevice, int, slice, int]:
            found = find_input(device)
            check_channel(channel, found.channels, f'"{found.name}"')
            width, chosen = channels_to_open(found, channel)
            return found, width, chosen, choose_rate(found, rate, width)

        self.device, width, self._chosen, rate = with_time_limit(choose)
        block = max(1, round(block_ms * rate / 1000))
        self._shape = Shape(rate, width, block)
        self.channels = ChannelMonitor(channel, width, rate)
        """Fed with all channels of the device."""
        channels = self._chosen.stop - self._chosen.start
        self.info = StreamInfo(self.device.name, rate, channels, live=True)
        self.ring = Ring(
            max(block * 2, round(buffer_seconds * rate)),
            channels,
            rate,
            shed=True,
            wake=wake,
        )
        self.error: str | None = None
        self.failure: BaseException | None = None
        """A programming error in a thread; the ring is finished then."""
        self.reports = Reports()
        self._patience = max(0.5, 5 * block_ms / 1000)
        self._supervisor = Supervisor(patience=self._patience)
        self._gaps = GapEstimator(rate, block)
        self._lost_since: float | None = None
        self._stream: Any = None
        self._watch: MoveWatch | None = None
        self._generation = 0
        self._finished = False
        self._resuming = False
        self._last_block: float | None = None
        self._paused = False
        self._stopping = False
        self._wake = Wake()
        self._writing = threading.Lock()  # held while the callback writes
        self._finishing = threading.Lock()
        self._ended = False
        self._first = threading.Event()
        self._looked_at: float | None = None
        self._refusal: UserError | None = None
        self._rescan = Rescan()
        self._thread = threading.Thread(target=self._keep, name="microphone", daemon=True)

    # ---- for the engine -----------------------------------------------------------------------

    def start(self) -> None:
        """Open the device and begin to fill the ring.

        Raises: UserError if it can't be opened (busy, gone, no answer).
        """
        self._thread.start()
        if not self._first.wait(_OPEN_SECONDS):
            self.stop()
            raise UserError(self._no_answer)
        if self._refusal is not None:
            self.stop()
            raise self._refusal

    def probe(self) -> None:
        """Try whether the device can be opened. Raises: UserError if not."""

        def open_and_close() -> None:
            with routed_to(self.device, unmixed=self._unmixed) as index:
                input_stream(self.device, index, self._shape).close()

        with_time_limit(open_and_close, refusal=self._no_answer)

    def stop(self) -> None:
        """Finish the ring, then close the device.

        Returns within 1.2 s even if the sound server is frozen; then the thread that waits for it
        is left behind.
        """
        self._stopping = True
        self._finish_ring()
        self._wake.set()
        if self._watch is not None:
            self._watch.stop()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            # sounddevice ends PortAudio at exit, which would wait for the server as well.
            atexit.unregister(portaudio()._exit_handler)
        self.ring.finish(self.error)

    @property
    def _no_answer(self) -> str:
        return f'"{self.device.name}" does not answer: restart the sound server'

    def _finish_ring(self) -> None:
        """Bar callbacks from the ring and count an outage until now as a gap."""
        with self._finishing:
            if self._ended:
                return
            self._ended = True
            self._generation += 1
            if self._writing.acquire(timeout=_BLOCK_SECONDS):  # for good
                if self._lost_since is not None:
                    self.ring.lose(self._gaps.overdue(time.monotonic()), DEVICE_LOST)
                self.ring.finish(self.error)

    def pause(self) -> None:
        """Stay open, and count what comes as lost by "paused"."""
        self._paused = True

    def resume(self) -> None:
        """Listen again."""
        self._paused = False

    @property
    def state(self) -> State:
        return self._supervisor.state

    def searching(self, now: float) -> bool:
        """Whether the device is away and attempts to reopen it go on.

        False while a frozen sound server holds one up.
        """
        looked = self._looked_at
        away = self._supervisor.state is not State.RUNNING
        return away and looked is not None and now - looked < _LOOK_SECONDS

    def last_callback_age(self) -> float | None:
        """Seconds since the last block; None before the first."""
        last = self._last_block
        return None if last is None else max(0.0, time.monotonic() - last)

    # ---- PortAudio's thread -------------------------------------------------------------------

    def _on_block(
        self, generation: int, block: NDArray[np.float32], frames: int, when: Any, status: Any
    ) -> None:
        if not self._writing.acquire(blocking=False):
            return  # `stop` has it
        try:
            if generation == self._generation:
                self._write(block, frames, when.inputBufferAdcTime, bool(status.input_overflow))
        except BaseException as error:
            self.failure = error
            self._wake.set()
            raise
        finally:
            self._writing.release()

    def _write(
        self, block: NDArray[np.float32], frames: int, driver: float, overflow: bool
    ) -> None:
        now = time.monotonic()
        if self._resuming:
            self._resuming = False
            self.ring.lose(self._gaps.resumed(now, frames, driver), DEVICE_LOST)
        else:
            missing = self._gaps.arrived(now, frames, driver, overflow)
            if missing:
                self.ring.lose(missing, "overflow" if overflow else "hole")
        if self._paused:
            self.ring.lose(frames, "paused")
        else:
            self.ring.write(block[:, self._chosen], now)
            for fault in self.channels.feed(block):
                self.reports.add("channels", f'"{self.device.name}": {fault}')
            self.ring.channels_cancel = self.channels.cancelled
        self._last_block = now

    def _on_finished(self, generation: int) -> None:
        if generation == self._generation:
            self._finished = True
            self._wake.set()

    # ---- the microphone's own thread ----------------------------------------------------------

    def _keep(self) -> None:
        try:
            while not self._stopping and self.failure is None:
                self._looked_at = time.monotonic()
                self._act(self._supervisor.tick(self._observe()))
                if self._refusal is not None:
                    break
                if self._watch is not None and self._watch.failure is not None:
                    self.failure = self._watch.failure
                self._wake.wait(self._until_next_look())
        except BaseException as error:
            self.failure = error
        finally:
            if self.failure is not None:
                self.error = f'"{self.device.name}": {type(self.failure).__name__}: {self.failure}'
            self._close()
            if self._watch is not None:
                self._watch.stop()
            self._finish_ring()
            self.ring.finish(self.error)
            self._first.set()

    def _until_next_look(self) -> float:
        """Seconds until the device must be looked at again.

        The stream's end, a move and `stop` set `_wake`, which leaves streams that go silent to be
        noticed.
        """
        if self._supervisor.state is not State.RUNNING:
            return 0.025
        age = self.last_callback_age() or 0.0
        return min(_TICK, max(0.025, self._patience - age + 0.01))

    def _observe(self) -> Observation:
        stream = self._stream
        try:
            active = stream is not None and not self._finished and bool(stream.active)
        except portaudio().PortAudioError:
            active = False
        return Observation(
            now=time.monotonic(),
            last_block=None if self._resuming or stream is None else self._last_block,
            active=active,
            moved_to=None if self._watch is None else self._watch.moved_to,
        )

    def _act(self, action: Action) -> None:
        if action is Action.CLOSE:
            self._report_loss()
            self._close()
        elif action is Action.OPEN:
            self._try_to_open()
        elif action is Action.RUNNING and self._lost_since is not None:
            away = time.monotonic() - self._lost_since
            self._lost_since = None
            self.reports.add("returned", f'"{self.device.name}" is back after {away:.1f} s')

    def _report_loss(self) -> None:
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            lost = f'"{self.device.name}" is lost ({self._supervisor.reason})'
            self.reports.add("lost", f"{lost}: waiting for its return")

    def _try_to_open(self) -> None:
        try:
            if self._first.is_set():
                self._reopen()
            else:
                self._open(self.device)
        except UserError as refusal:
            log.info("not opened: %s", refusal)
            self._supervisor.failed(time.monotonic())
            if not self._first.is_set():
                self._refusal = refusal
            return
        self._supervisor.opened(time.monotonic())
        self._first.set()

    def _reopen(self) -> None:
        """Raises: UserError if the device isn't back."""
        self._resuming = True
        if not self._follows:
            check_server(self.device)
        try:
            self._open(self._wanted())
        except UserError:
            # PortAudio does not know devices that were connected after it looked for them.
            if not self._rescan.look():
                raise
            self._open(self._wanted())

    def _wanted(self) -> InputDevice:
        return find_input(None) if self._follows else same_device(self.device)

    def _open(self, device: InputDevice) -> None:
        """Raises: UserError if it can't be opened now."""
        self._generation += 1
        self._finished = False
        with routed_to(device, unmixed=self._unmixed) as index:
            stream = input_stream(
                device,
                index,
                self._shape,
                callback=partial(self._on_block, self._generation),
                finished_callback=partial(self._on_finished, self._generation),
            )
            self._stream = stream
            try:
                stream.start()
            except portaudio().PortAudioError as error:
                self._close()
                raise UserError(refused(device, self._shape.rate, error)) from error
        log.info("opened %s as %s", device, self._shape)
        self.device = device
        self._watch_source()

    def _watch_source(self) -> None:
        if self.device.source is None:
            return
        if self._watch is None:
            self._watch = MoveWatch(self.device.source, self._wake)
            self._watch.start()
        self._watch.rearm(self.device.source)

    def _close(self) -> None:
        self._generation += 1
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)
