"""When a stream has something to say, so that its feeder may sleep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.making import speechlike
from support.streaming import Lossy, Sound, make, turn

from daemon.base.audio import RATE
from daemon.messages import Event, Message, Prediction


def told_at(sound: Sound, rate: int, *, sleepy: bool, block: int) -> list[tuple[int, Message]]:
    """Each message with the number of samples that had come by then.

    A sleepy reader lets blocks lie until there are as many samples as the stream misses.
    """
    stream = make(rate=rate)
    source = Lossy(sound, rate)
    found: list[tuple[int, Message]] = []
    at = start = 0
    loud = False
    while at < len(sound):
        missing = stream.missing
        loud = loud or bool(np.abs(sound[at : at + block]).max() > missing.loud)
        at = min(at + block, len(sound))
        enough = missing.samples_if_loud if loud else missing.samples
        if sleepy and at - start < enough and at < len(sound):
            continue
        loud = False
        chunk = source._chunk(start, at, 0, "")
        arrivals = np.arange(start // block + 1, -(-at // block) + 1)
        ends = np.minimum(arrivals * block, len(sound))
        chunk = replace(chunk, block_ends=ends, block_arrivals=ends / rate)
        stream.feed(chunk)
        found += [(at, message) for message in turn([stream])[0]]
        start = at
    return found


def with_pauses() -> Sound:
    """Speech, three seconds of quiet, speech."""
    rng = np.random.default_rng(5)
    quiet = (0.002 * rng.standard_normal(3 * RATE)).astype(np.float32)
    return np.concatenate([quiet, speechlike(4.0), quiet, speechlike(4.0, seed=1), quiet])


def is_gated(message: Message) -> bool:
    return isinstance(message, Prediction) and message.gated


def test_who_waits_for_what_is_missing_misses_nothing() -> None:
    sound = with_pauses()
    often = told_at(sound, RATE, sleepy=False, block=320)
    seldom = told_at(sound, RATE, sleepy=True, block=320)
    assert len(often) > 45 and any(isinstance(message, Event) for _, message in often)
    assert 5 < sum(is_gated(message) for _, message in often) < 40
    assert len(seldom) == len(often)
    for (late, said), (soon, expected) in zip(seldom, often, strict=True):
        # That nothing was said may come as late as the next windows are complete.
        assert soon <= late <= soon + (0.72 * RATE + 320 if is_gated(said) else 0)
        assert repr(said) == repr(expected)  # arrays and all, and the same latency


def test_speech_too_faint_to_notice_is_detected_with_the_next_windows() -> None:
    sound = np.float32(1e-3) * with_pauses()
    often = told_at(sound, RATE, sleepy=False, block=320)
    seldom = told_at(sound, RATE, sleepy=True, block=320)
    assert [repr(said) for _, said in seldom] == [repr(said) for _, said in often]
    delays = [late - soon for (late, _), (soon, _) in zip(seldom, often, strict=True)]
    assert 0 < max(delays) <= 0.72 * RATE + 320


def test_speech_little_louder_than_what_was_before_it_is_detected_with_the_next_window() -> None:
    """After a bang nothing stands out, so that a turn comes with each window."""
    sound = with_pauses()
    sound[3 * RATE - 8000] = 0.9
    often = told_at(sound, RATE, sleepy=False, block=320)
    seldom = told_at(sound, RATE, sleepy=True, block=320)
    assert [repr(said) for _, said in seldom] == [repr(said) for _, said in often]
    delays = [
        late - soon
        for (late, _), (soon, said) in zip(seldom, often, strict=True)
        if not is_gated(said)
    ]
    assert 0 < max(delays) <= 0.24 * RATE + 320


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_nor_does_it_come_much_later_at_other_rates(rate: int) -> None:
    sound = speechlike(6.0, rate)
    block = rate // 50
    often = told_at(sound, rate, sleepy=False, block=block)
    seldom = told_at(sound, rate, sleepy=True, block=block)
    assert len(seldom) == len(often) > 20
    for (late, said), (soon, _) in zip(seldom, often, strict=True):
        assert late - soon <= (0.72 * rate + block if is_gated(said) else block)


def test_little_is_read_in_silence() -> None:
    stream = make()
    turns, waiting = 0, 0
    for start in range(0, 10 * RATE, 320):
        waiting += 320
        if waiting >= stream.missing.samples:
            stream.feed(
                Lossy(np.zeros(10 * RATE, np.float32))._chunk(
                    start + 320 - waiting, start + 320, 0, ""
                )
            )
            turn([stream])
            turns, waiting = turns + 1, 0
    assert turns <= 18  # three windows every 0.72 s, of 50 blocks a second, and a few at the start
