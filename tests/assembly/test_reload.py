"""Settings that change while sound comes in, and what must not be lost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.making import speechlike
from support.running import EVERY_TYPE

from daemon.base.errors import UserError
from daemon.capture.ring import Ring
from daemon.decide import EventDetector, EventSettings
from daemon.messages import Event, Message, Prediction, RunInfo, Status, StreamInfo
from daemon.output.base import Output
from daemon.output.dispatch import Dispatcher
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings

RATE = 16000
LABELS = ("yes", "background")
INFO = StreamInfo("mic", RATE, 1, live=True)
RUN = RunInfo((INFO,), LABELS, frozenset({"background"}), (0.5, 0.5), "m", "b", 0.5, 0.1)
SOUND = speechlike(6.0)


# ---- streams ------------------------------------------------------------------------------------


def listen(changes: dict[int, tuple[float, EventSettings]], block: int = 800) -> list[Message]:
    """All messages of SOUND, with settings that change meanwhile.

    Before block number k the settings change to changes[k]. The model says "yes" with 0.6,
    always.
    """
    gates = GateBank.load(GateSettings(kind="off"))
    wanted = StreamSettings(LABELS, frozenset({"background"}), window=0.5, hop=0.1)
    stream = Stream(INFO, wanted, gates)
    ring = Ring(RATE * 10, 1, RATE, shed=True)
    told: list[Message] = []

    def turn() -> None:
        gates.run(stream.gates())
        for window in stream.due():
            stream.resolve(window, np.array([0.6, 0.4], np.float32), 0.0)
        told.extend(stream.take())

    for number, at in enumerate(range(0, len(SOUND), block)):
        if number in changes:
            hop, events = changes[number]
            stream.adopt(hop=hop, events=events)
        ring.write(SOUND[at : at + block, None], 0.0)
        chunk = ring.read(RATE)
        assert chunk is not None
        stream.feed(chunk)
        turn()
    ring.finish()
    stream.finish()
    turn()
    told.append(stream.summary(ring))  # raises if a sample is unaccounted for
    return told


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 119),
        st.tuples(st.sampled_from([0.05, 0.1, 0.24, 0.5]), st.just(EventSettings(threshold=0.5))),
        max_size=5,
    )
)
def test_every_sample_is_seen_whatever_the_hop_becomes(
    changes: dict[int, tuple[float, EventSettings]],
) -> None:
    told = listen(changes)
    windows = [message for message in told if isinstance(message, Prediction)]
    assert told[-1].samples_classified == len(SOUND)  # type: ignore[union-attr]
    starts = [window.start for window in windows]
    assert starts == sorted(starts)
    assert windows[0].start == 0.0 and windows[-1].end >= len(SOUND) / RATE
    assert all(b.start <= a.end for a, b in pairwise(windows))


def test_a_hop_that_stays_changes_no_window() -> None:
    usual = [m for m in listen({}) if isinstance(m, Prediction)]
    same = listen({40: (0.1, EventSettings(threshold=0.9))})
    again = [m for m in same if isinstance(m, Prediction)]
    assert [(m.start, m.end) for m in usual] == [(m.start, m.end) for m in again]


def test_a_threshold_counts_from_now_on() -> None:
    high, low = EventSettings(threshold=0.9), EventSettings(threshold=0.5)
    assert not [m for m in listen({0: (0.1, high)}) if isinstance(m, Event)]
    lowered = [m for m in listen({0: (0.1, high), 60: (0.1, low)}) if isinstance(m, Event)]
    assert lowered and 2.9 <= lowered[0].at_stream <= 3.2
    # What has fired does not fire again because the threshold moved below it.
    moved = listen({0: (0.1, low), 60: (0.1, low.model_copy(update={"threshold": 0.55}))})
    assert len([m for m in moved if isinstance(m, Event)]) == 1


def test_a_hop_longer_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="hop"):
        listen({3: (0.6, EventSettings())})


def test_a_detector_takes_thresholds_of_labels() -> None:
    detector = EventDetector(LABELS, {"background"}, "word", EventSettings(threshold=0.9))
    detector.adopt(EventSettings(threshold=0.9, thresholds={"yes": 0.2}))
    assert detector.thresholds == pytest.approx([0.2, 0.9])


# ---- outputs ------------------------------------------------------------------------------------


class Kept:
    """An output that keeps what it is told."""

    takes = EVERY_TYPE

    def __init__(self, name: str, refuse: bool = False) -> None:
        self.name = name
        self.refuse = refuse
        self.heard: list[str] = []
        self.opened = self.closed = 0

    def open(self, run: RunInfo) -> None:
        if self.refuse:
            raise UserError("there is no such folder")
        assert run is RUN
        self.opened += 1

    def publish(self, message: Message) -> None:
        assert isinstance(message, Status)
        self.heard.append(message.text)

    def reopen(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


def say(dispatcher: Dispatcher, first: int, last: int) -> list[str]:
    texts = [str(number) for number in range(first, last)]
    for text in texts:
        dispatcher.publish(Status(None, text))
    return texts


def test_outputs_are_exchanged_without_losing_a_line() -> None:
    stays, goes, comes = Kept("stays"), Kept("goes"), Kept("comes")
    outputs: list[Output] = [stays, goes]
    dispatcher = Dispatcher(outputs, lossless=False)
    dispatcher.open(RUN)
    before = say(dispatcher, 0, 500)
    dispatcher.exchange([comes, stays], RUN)
    after = say(dispatcher, 500, 1000)
    dispatcher.close()
    assert stays.heard == before + after
    assert goes.heard == before and comes.heard == after
    assert [(o.opened, o.closed) for o in (stays, goes, comes)] == [(1, 1)] * 3
    assert dispatcher.lost == {}


def test_an_output_that_cannot_be_opened_leaves_all_as_it_was() -> None:
    stays, fine, bad = Kept("stays"), Kept("fine"), Kept("bad", refuse=True)
    dispatcher = Dispatcher([stays], lossless=False)
    dispatcher.open(RUN)
    with pytest.raises(UserError, match="no such folder"):
        dispatcher.exchange([fine, bad], RUN)
    texts = say(dispatcher, 0, 10)
    dispatcher.close()
    assert stays.heard == texts and fine.heard == []
    assert (stays.closed, fine.closed, bad.closed) == (1, 1, 0)


def test_what_an_output_did_not_write_in_time_is_counted(tmp_path: Path) -> None:
    import threading

    gate = threading.Event()
    slow = Kept("slow")
    publish = slow.publish

    def wait(message: Message) -> None:
        gate.wait(10)
        publish(message)

    slow.publish = wait  # type: ignore[method-assign]
    dispatcher = Dispatcher([slow], lossless=False)
    dispatcher.open(RUN)
    say(dispatcher, 0, 20)
    dispatcher.exchange([], RUN, timeout=0.1)
    gate.set()
    assert dispatcher.lost == {"slow": 20}
    dispatcher.close()
