"""The gate's intervals against a plain reference, and its decisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.vad import CHUNK, Coverage, Gate, GateBank, GateSettings

SETTINGS = GateSettings(on=0.5, off=0.375, min_silence=0.1, pre_roll=0.05)
"""Thresholds that float32 holds exactly."""
PRE_ROLL = 800
quick = settings(max_examples=50, deadline=None)
levels = st.lists(st.sampled_from([0.0, 0.374, 0.375, 0.4, 0.5, 0.9]), max_size=60)


class Loudness:
    """A detector that reads the probability off the chunk's first sample."""

    def new_state(self) -> object:
        return object()

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        return chunks[:, 0]


def reference(probabilities: Sequence[float], wanted: GateSettings) -> list[tuple[int, int, int]]:
    """Intervals (start with pre-roll, onset, end), by the definition in words."""
    found: list[list[int]] = []
    speaking, silent = False, 0
    for k, p in enumerate(probabilities):
        if not speaking and p >= wanted.on:
            speaking = True
            onset = k * CHUNK
            found.append([max(0, onset - round(wanted.pre_roll * RATE)), onset, 0])
        if speaking:
            if p >= wanted.off:
                found[-1][2], silent = (k + 1) * CHUNK, 0
            else:
                silent += 1
                if silent * CHUNK / RATE >= wanted.min_silence:
                    speaking, silent = False, 0
    return [(a, b, c) for a, b, c in found]


def heard(probabilities: Sequence[float], wanted: GateSettings = SETTINGS) -> Gate:
    gate = Gate(wanted)
    for p in probabilities:
        gate.update(p)
    return gate


@quick
@given(levels, st.integers(0, 60 * CHUNK), st.integers(1, 20000))
def test_speech_is_what_overlaps_an_interval(values: list[float], start: int, length: int) -> None:
    gate = heard(values)
    gate.finish()
    overlaps = any(a < start + length and c > start for a, _, c in reference(values, SETTINGS))
    assert gate.covers(start, start + length) is (Coverage.SPEECH if overlaps else Coverage.GATED)


@quick
@given(levels, st.data())
def test_what_is_decided_stays_decided(values: list[float], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 60 * CHUNK))
    length = data.draw(st.integers(1, 20000))
    given_settings = data.draw(
        st.builds(
            GateSettings,
            min_silence=st.sampled_from([0.0, 0.1, 0.3]),
            pre_roll=st.sampled_from([0.0, 0.05, 0.3]),
        )
    )
    gate = Gate(given_settings)
    answer = gate.covers(start, start + length)
    for p in values:
        gate.update(p)
        now = gate.covers(start, start + length)
        assert answer in {Coverage.UNDECIDED, now}
        answer = now
    gate.finish()
    final = gate.covers(start, start + length)
    assert final is not Coverage.UNDECIDED
    assert answer in {Coverage.UNDECIDED, final}


@quick
@given(levels, st.integers(1, 20000), st.integers(1, 8000))
def test_windows_are_decided_in_order(values: list[float], window: int, hop: int) -> None:
    gate = Gate(SETTINGS)
    for p in values:
        gate.update(p)
        answers = [gate.covers(a, a + window) for a in range(0, 60 * CHUNK, hop)]
        undecided = [k for k, answer in enumerate(answers) if answer is Coverage.UNDECIDED]
        if undecided:  # speech further on would have had to be known before
            assert Coverage.SPEECH not in answers[undecided[0] :]


def test_gated_is_decided_as_soon_as_the_pre_roll_is_scored() -> None:
    gate = heard([0.0] * 33)  # 16896 samples; the window ends at 16000
    assert gate.covers(0, 16000) is Coverage.GATED
    assert heard([0.0] * 32).covers(0, 16000) is Coverage.UNDECIDED
    assert gate.covers(0, 33 * CHUNK - PRE_ROLL) is Coverage.GATED
    assert gate.covers(0, 33 * CHUNK - PRE_ROLL + 1) is Coverage.UNDECIDED


def test_speech_is_decided_at_once() -> None:
    gate = heard([0.0, 0.9])
    assert gate.covers(0, 16000) is Coverage.SPEECH
    assert gate.speaking


@quick
@given(levels, st.integers(0, 30 * CHUNK), st.integers(CHUNK, 20 * CHUNK), st.integers(0, 30))
def test_speech_within_does_not_change_with_what_comes_later(
    values: list[float], start: int, length: int, more: int
) -> None:
    end = start + length
    by_then = heard(values[: end // CHUNK])
    later = heard(values)
    core = (start + length // 3, start + length // 2)
    for span in (None, core):
        assert by_then.speech_within(start, end, span) == later.speech_within(start, end, span)
    if by_then.speech_within(start, end):
        assert by_then.utterance(start, end) == later.utterance(start, end)


@quick
@given(levels, st.integers(0, 60 * CHUNK), st.integers(1, 20000))
def test_speech_within_is_from_the_first_to_the_last_voiced_chunk(
    values: list[float], start: int, length: int
) -> None:
    end = start + length
    heard_until = end // CHUNK * CHUNK
    voiced = [
        (max(k * CHUNK, start), min((k + 1) * CHUNK, heard_until))
        for k, p in enumerate(values)
        for _, onset, stop in reference(values, SETTINGS)
        if onset <= k * CHUNK < stop and p >= SETTINGS.off
    ]
    voiced = [(a, b) for a, b in voiced if a < b]
    wanted = (voiced[0][0], voiced[-1][1]) if voiced else None
    assert heard(values).speech_within(start, end) == wanted


def test_a_part_of_an_unscored_chunk_is_no_speech() -> None:
    assert heard([0.5, 0.375]).speech_within(CHUNK, CHUNK + 1) is None


def test_the_core_picks_the_speech_that_reaches_into_it() -> None:
    gate = heard([0.9] * 3 + [0.0] * 10 + [0.9] * 5 + [0.0] * 10)
    assert gate.speech_within(0, 28 * CHUNK) == (0, 18 * CHUNK)
    second = (13 * CHUNK, 18 * CHUNK)
    assert gate.speech_within(0, 28 * CHUNK, (14 * CHUNK, 20 * CHUNK)) == second
    assert gate.speech_within(0, 28 * CHUNK, (20 * CHUNK, 21 * CHUNK)) == (0, 18 * CHUNK)


def test_utterances_are_numbered_by_the_latest_speech() -> None:
    gate = heard([0.9] * 3 + [0.0] * 10 + [0.9] * 5)
    assert gate.utterance(0, 10 * CHUNK) == 1
    assert gate.utterance(0, 14 * CHUNK) == 2
    assert gate.utterance(4 * CHUNK, 13 * CHUNK) == 2  # only its pre-roll
    assert gate.utterance(4 * CHUNK, 9 * CHUNK) == 0


@quick
@given(levels, st.integers(0, 50))
def test_forgetting_changes_nothing_further_on(values: list[float], chunks: int) -> None:
    at = chunks * CHUNK
    one, other = heard(values), heard(values)
    one.forget(at, at)
    for start in range(at, 60 * CHUNK, 700):
        assert one.covers(start, start + 3000) is other.covers(start, start + 3000)
        assert one.speech_within(start, start + 3000) == other.speech_within(start, start + 3000)


def test_memory_does_not_grow() -> None:
    gate = Gate(GateSettings(min_silence=0.0, pre_roll=0.0))
    for k in range(20_000):
        gate.update(float(k % 2))
        gate.forget(k * CHUNK - 16000, k * CHUNK - 16000)
    assert len(gate._intervals) < 40
    assert len(gate._runs) < 40


@quick
@given(st.lists(levels, max_size=4), st.lists(st.integers(0, 3000), max_size=20), st.data())
def test_a_bank_scores_each_as_if_alone(
    streams: list[list[float]], cuts: list[int], data: st.DataObject
) -> None:
    bank = GateBank(SETTINGS, Loudness())
    gates = [bank.new_gate() for _ in streams]
    left = [np.repeat(np.array(values, np.float32), CHUNK) for values in streams]
    for cut in [*cuts, 60 * CHUNK]:
        chosen = data.draw(st.integers(0, 15)) if cut < 60 * CHUNK else 15
        for i, gate in enumerate(gates):
            if chosen >> i & 1:
                gate.feed(left[i][:cut])
                left[i] = left[i][cut:]
        bank.run(gates)
    for gate, values in zip(gates, streams, strict=True):
        alone = heard(values)
        assert gate.scored == alone.scored
        assert [(s.start, s.end) for s in gate._runs] == [(s.start, s.end) for s in alone._runs]


def test_the_last_chunk_is_filled_up() -> None:
    bank = GateBank(SETTINGS, Loudness())
    gate = bank.new_gate()
    gate.feed(np.full(100, 0.9, np.float32))
    bank.run([gate])
    assert gate.scored == 0
    gate.finish()
    assert gate.covers(0, 50) is Coverage.UNDECIDED
    bank.run([gate])
    assert gate.scored == CHUNK
    assert gate.covers(0, 50) is Coverage.SPEECH


def test_off_lets_everything_pass_and_keeps_nothing() -> None:
    bank = GateBank.load(GateSettings(kind="off"))
    gate = bank.new_gate()
    gate.feed(np.zeros(100_000, np.float32))
    bank.run([gate])
    assert gate.covers(0, 16000) is Coverage.SPEECH
    assert gate.speech_within(0, 16000) is None
    assert gate.pending == 0


def test_impossible_banks_are_refused() -> None:
    with pytest.raises(ValueError, match="off"):
        GateBank(GateSettings(on=0.3, off=0.4), Loudness())
    with pytest.raises(ValueError, match="detector"):
        GateBank(GateSettings())
