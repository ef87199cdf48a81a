"""The whole pure path: any blocks give the same messages and counts."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.making import speechlike
from support.streaming import ENERGY, OTHERS, SETUP, Lossy, make, plain, play, score, turn

from daemon.base.audio import RATE
from daemon.capture.ring import Chunk, Ring
from daemon.decide import EventSettings, RollingSettings
from daemon.messages import Event, Gap, Level, Message, Prediction, StreamInfo, Summary
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import Stream
from daemon.vad import GateBank, GateSettings
from daemon.windowing import all_windows, high_passed

SOUND = speechlike(12.0, seed=4)
UTTERANCE = replace(
    SETUP, unit="utterance", rolling=RollingSettings(forgetting=0.95, max_seconds=3.0)
)


@pytest.mark.parametrize("setup", [SETUP, UTTERANCE, replace(SETUP, gate=GateSettings(kind="off"))])
@settings(deadline=None, max_examples=12)
@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=8).filter(lambda s: sum(s) > 500),
    batch=st.integers(1, 20),
    cuts=st.lists(st.tuples(st.integers(0, len(SOUND)), st.integers(1, 9000)), max_size=3),
)
@example(sizes=[628], batch=1, cuts=[(6310, 4)])  # an event at the end of a block, told at once
def test_messages_do_not_depend_on_blocks_or_batches(
    setup: StreamSettings, sizes: list[int], batch: int, cuts: list[tuple[int, int]]
) -> None:
    gaps = [(at, n, ("shed", "hole")[n % 2]) for at, n in sorted(dict(cuts).items())]
    whole = play(Lossy(SOUND, gaps=gaps).chunks([len(SOUND)]), setup)
    parts = play(Lossy(SOUND, gaps=gaps).chunks(sizes), setup, batch=batch)
    assert plain(parts) == plain(whole)
    summary = whole[-1]
    assert isinstance(summary, Summary)
    lost = sum(n for _, n, _ in gaps)
    shed = sum(n for _, n, why in gaps if why == "shed")
    assert summary.samples_captured == len(SOUND) + shed
    assert summary.samples_classified + summary.samples_gated == len(SOUND)
    assert summary.samples_lost == lost
    assert [m.samples_lost for m in whole if isinstance(m, Gap)] == [n for _, n, _ in gaps]


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_messages_do_not_depend_on_blocks_at_other_rates(rate: int) -> None:
    sound = speechlike(6.0, rate=rate, seed=2)
    whole = play(Lossy(sound, rate).chunks([len(sound)]), rate=rate)
    for size in (64, 5000):
        parts = play(Lossy(sound, rate).chunks([size]), rate=rate)
        assert len(parts) == len(whole)
        for one, other in zip(parts, whole, strict=True):
            if isinstance(one, Prediction) and isinstance(other, Prediction):
                assert (one.start, one.end, one.gated) == (other.start, other.end, other.gated)
                np.testing.assert_allclose(one.rolling, other.rolling, atol=1e-4)
            elif isinstance(one, Event) and isinstance(other, Event):
                assert (one.intent, one.start, one.end) == (other.intent, other.start, other.end)
    assert isinstance(whole[-1], Summary)
    assert whole[-1].seconds == 6.0


def test_streams_side_by_side_say_what_they_say_alone() -> None:
    sounds = [speechlike(5.0, seed=s) for s in range(4)]
    streams = [make() for _ in sounds]
    queues = [Lossy(sound).chunks([1600 + 700 * i]) for i, sound in enumerate(sounds)]
    told: list[list[Message]] = [[] for _ in sounds]
    for k in range(max(map(len, queues)) + 1):
        for stream, queue in zip(streams, queues, strict=True):
            if k < len(queue):
                stream.feed(queue[k])
            elif k == len(queue):
                stream.finish()
        for i, new in enumerate(turn(streams, batch=3)):
            told[i] += new
    for stream, sound, messages in zip(streams, sounds, told, strict=True):
        assert stream.drained
        alone = play(Lossy(sound).chunks([len(sound)]))
        assert plain([*messages, stream.summary()]) == plain(alone)


def test_scores_and_times_are_those_of_the_windows() -> None:
    messages = play(Lossy(SOUND).chunks([777]), replace(SETUP, gate=GateSettings(kind="off")))
    predictions = [m for m in messages if isinstance(m, Prediction)]
    windows = all_windows(high_passed(SOUND), 16000, 3840)
    assert len(predictions) == len(windows) == 50
    for k, (prediction, window) in enumerate(zip(predictions, windows, strict=True)):
        assert prediction.start == pytest.approx(0.24 * k)
        assert prediction.end == pytest.approx(0.24 * k + 1)
        assert not prediction.gated
        np.testing.assert_array_equal(prediction.scores, score(window))


def test_every_window_gives_one_line_in_order_and_events_lie_in_the_stream() -> None:
    messages = play(Lossy(SOUND).chunks([1000]))
    predictions = [m for m in messages if isinstance(m, Prediction)]
    assert all(a.start < b.start for a, b in pairwise(predictions))
    assert {m.gated for m in predictions} == {True, False}
    events = [m for m in messages if isinstance(m, Event)]
    assert len(events) >= 3
    for event in events:
        assert 0 <= event.start < event.end <= event.at_stream <= 12.0
        assert event.intent not in OTHERS
    for prediction in predictions:
        assert (prediction.scores is None) == prediction.gated == (prediction.latency_ms is None)
    summary = messages[-1]
    assert isinstance(summary, Summary)
    assert (summary.windows, summary.events) == (len(predictions), len(events))
    assert summary.gated == sum(m.gated for m in predictions)
    assert summary.top[0].score >= summary.top[-1].score


def test_an_event_lasts_as_long_as_the_speech() -> None:
    rng = np.random.default_rng(3)
    sound = (0.0005 * rng.standard_normal(6 * RATE)).astype(np.float32)
    t = np.arange(RATE // 2) / RATE
    sound[3 * RATE : 3 * RATE + RATE // 2] += (0.5 * np.sin(2 * np.pi * 700 * t)).astype(np.float32)
    held = replace(SETUP, events=EventSettings(threshold=0.5, min_duration=0.24))
    messages = play(Lossy(sound).chunks([640]), held)
    (event,) = [m for m in messages if isinstance(m, Event)]
    assert abs(event.start - 3.0) < 0.05
    assert abs(event.end - 3.5) < 0.05


def test_no_window_spans_a_gap_and_state_starts_afresh() -> None:
    gaps = [(5 * RATE, 2 * RATE, "overflow")]
    messages = play(Lossy(SOUND, gaps=gaps).chunks([3000]))
    index = next(i for i, m in enumerate(messages) if isinstance(m, Gap))
    gap = messages[index]
    assert isinstance(gap, Gap)
    assert (gap.start, gap.end, gap.samples_lost, gap.reason) == (5.0, 7.0, 32000, "overflow")
    before = [m for m in messages[:index] if isinstance(m, Prediction)]
    after = [m for m in messages[index:] if isinstance(m, Prediction)]
    assert before[-1].start < 5.0
    assert after[0].start == 7.0
    # what follows is what a stream of its own would say, two seconds and five later
    alone = play(Lossy(SOUND[5 * RATE :]).chunks([4000]))
    rolled = [m.rolling.tolist() for m in alone if isinstance(m, Prediction)]
    assert [m.rolling.tolist() for m in after] == rolled


def test_latency_runs_from_the_block_that_makes_a_window_due() -> None:
    setup = replace(SETUP, gate=GateSettings(kind="off"))
    stream = make(setup)
    for chunk in Lossy(SOUND[: 2 * RATE]).chunks([1000]):
        stream.feed(chunk)
        for window in stream.due():
            end = window.index * 3840 + 16000
            assert window.arrival == pytest.approx(-(-end // 1000) / 16)
            stream.resolve(window, score(window.samples), window.arrival + 0.05)
    told = [m for m in stream.take() if isinstance(m, Prediction)]
    assert [m.latency_ms for m in told] == [pytest.approx(50.0)] * 5


def test_windows_that_are_padded_before_a_gap_are_due_with_the_sound_behind_it() -> None:
    """An outage of a minute is no latency of a minute."""
    setup = replace(SETUP, gate=GateSettings(kind="off"))
    stream = make(setup)
    lost = 60 * RATE
    arrivals = {}
    for chunk in Lossy(SOUND[: 4 * RATE], gaps=[(2 * RATE, lost, "device lost")]).chunks([1000]):
        stream.feed(chunk)
        for window in stream.due():
            arrivals[window.start] = window.arrival
            stream.resolve(window, score(window.samples), window.arrival + 0.05)
    before = {at: arrived for at, arrived in arrivals.items() if at < 2.0}
    padded = [arrived for at, arrived in before.items() if at + 1.0 > 2.0]
    assert len(padded) >= 4
    assert padded == [pytest.approx((2 * RATE + lost + 1000) / RATE)] * len(padded)
    whole = [(at, arrived) for at, arrived in before.items() if at + 1.0 <= 2.0]
    assert whole and all(arrived < at + 1.1 for at, arrived in whole)
    assert stream.progress().latency_p99_ms == pytest.approx(50.0, rel=0.02)


def test_a_window_let_in_by_the_pre_roll_is_due_with_the_speech() -> None:
    rng = np.random.default_rng(3)
    sound = (0.0005 * rng.standard_normal(3 * RATE)).astype(np.float32)
    onset = 16000 + 2 * 3840 + 4000  # behind window 2, within its pre-roll
    sound[onset:] += 0.3 * np.sin(np.arange(len(sound) - onset)).astype(np.float32)
    stream = make()
    found = {}
    for chunk in Lossy(sound).chunks([320]):
        stream.feed(chunk)
        ENERGY.run(stream.gates())
        for window in stream.due():
            found[window.index] = window.arrival
    assert min(found) == 2
    assert onset / RATE < found[2] < onset / RATE + 0.07
    assert found[3] == pytest.approx((16000 + 3 * 3840) / RATE, abs=0.07)


def test_levels_come_twenty_times_a_second() -> None:
    stream = make(levels=True)
    for chunk in Lossy(SOUND).chunks([1234]):
        stream.feed(chunk)
    levels = [m for m in stream.take() if isinstance(m, Level)]
    assert len(levels) == 240
    assert levels[0].at_stream == pytest.approx(0.05)
    assert max(level.peak_dbfs for level in levels) > -12
    assert not [m for m in make().take() if isinstance(m, Level)]


def test_through_the_ring_and_against_its_counts() -> None:
    ring = Ring(RATE, 2, RATE, shed=True)
    stereo = np.stack([SOUND, 0 * SOUND], axis=1)
    stream = make()
    for k, at in enumerate(range(0, len(SOUND), 2000)):
        ring.write(stereo[at : at + 2000], at / RATE)
        if k % 20 == 19:
            ring.lose(500, "hole")
        if k % 12 != 0:
            continue
        while (chunk := ring.read(5000)) is not None:
            stream.feed(chunk)
            turn([stream])
    ring.lose(70, "device lost")
    ring.finish()
    while (chunk := ring.read(5000)) is not None:
        stream.feed(chunk)
    stream.finish()
    turn([stream])
    summary = stream.summary(ring)
    assert ring.shed > 0
    assert summary.samples_captured == ring.captured == len(SOUND)
    assert summary.samples_lost == ring.shed + ring.never_arrived
    assert summary.seconds == pytest.approx((len(SOUND) + ring.never_arrived) / RATE)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.5, 1.0])
def test_short_streams(seconds: float) -> None:
    sound = 0.1 * np.sin(np.arange(round(seconds * RATE))).astype(np.float32)
    messages = play(Lossy(sound).chunks([100]))
    summary = messages[-1]
    assert isinstance(summary, Summary)
    assert summary.windows == -(-len(sound) // 3840)
    assert summary.seconds == seconds
    assert (summary.top == ()) == (summary.windows == summary.gated)


def test_an_abandoned_stream_counts_what_it_leaves() -> None:
    stream = make()
    chunks = Lossy(SOUND, gaps=[(9 * RATE, 100, "hole")]).chunks([RATE])
    told: list[Message] = []
    for chunk in chunks[:6]:
        stream.feed(chunk)
        told += turn([stream])[0]
    for chunk in chunks[6:]:
        stream.feed(chunk)
    stream._gates.run(stream.gates())
    waiting = stream.due()
    stream.abandon()
    told += stream.take()
    assert stream.drained
    summary = stream.summary()
    gaps = [m for m in told if isinstance(m, Gap)]
    assert [gap.reason for gap in gaps] == ["stopped", "hole", "stopped"]
    assert summary.samples_lost == sum(gap.samples_lost for gap in gaps)
    assert gaps[0].end == 9.0
    assert gaps[2].end == pytest.approx(12 + 100 / RATE)
    assert (
        summary.samples_captured
        == summary.samples_classified + summary.samples_gated + summary.samples_shed
    )
    with pytest.raises(RuntimeError):
        stream.feed(chunks[0])
    assert waiting


def test_misuse_is_refused() -> None:
    stream = make(replace(SETUP, gate=GateSettings(kind="off")))
    with pytest.raises(RuntimeError, match="end"):
        stream.summary()
    stream.feed(Lossy(SOUND).chunks([2 * RATE])[0])
    window = stream.due()[0]
    with pytest.raises(ValueError, match="shape"):
        stream.resolve(window, np.zeros(3, np.float32), 0.0)
    stream.resolve(window, score(window.samples), 0.0)
    with pytest.raises(ValueError, match="waits"):
        stream.resolve(window, score(window.samples), 0.0)


@pytest.mark.parametrize("kind", ["energy", "off"])
def test_memory_does_not_grow(kind: str) -> None:
    setup = replace(SETUP, gate=GateSettings(kind=kind))  # type: ignore[arg-type]
    bank = GateBank.load(setup.gate)
    stream = Stream(StreamInfo("a", RATE, 1, live=False), setup, bank, levels=True)
    row = np.array([0.1, 0.7, 0.1, 0.1], np.float32)
    block, sizes = SOUND[:, None], []
    tracemalloc.start()
    for k in range(40):  # eight minutes
        at = k * len(SOUND)
        end = at + len(SOUND)
        ends, times = np.array([end], np.int64), np.zeros(1)
        stream.feed(Chunk(block, at, ends, times, 0, "", end, 0, 0))
        bank.run(stream.gates())
        for window in stream.due():
            stream.resolve(window, row, 1.0)
        stream.take()
        if k in {9, 39}:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] - sizes[0] < 50_000
