"""Splits: nobody in two parts, nobody moved, strata kept."""

from __future__ import annotations

from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.split import counts, draw_stratified, part_of
from train.recipe import SplitSection

keys = st.lists(st.text(max_size=12), min_size=1, max_size=60, unique=True)


@given(keys, st.one_of(st.none(), st.integers(0, 9)))
def test_a_group_is_in_one_part_whatever_else_there_is(found: list[str], seed: int | None) -> None:
    split = SplitSection(seed=seed)
    alone = {key: part_of(key, split) for key in found}
    assert {key: part_of(key, split) for key in [*found, "someone new"] if key in alone} == alone


@given(st.text(max_size=20))
def test_the_hash_is_the_one_that_the_data_is_published_with(key: str) -> None:
    number = int(sha1(key.encode()).hexdigest(), 16) % 10
    expected = {0: "test", 1: "validation"}.get(number, "train")
    assert part_of(key, SplitSection()) == expected


@given(keys)
def test_folds_test_everybody_once_and_never_validate_on_the_test(found: list[str]) -> None:
    folds = [SplitSection(buckets=5, fold=n) for n in range(5)]
    for key in found:
        assert [part_of(key, split) for split in folds].count("test") == 1


def test_parts_have_about_the_shares_asked_for() -> None:
    parts = [part_of(f"speaker {n}", SplitSection()) for n in range(5000)]
    assert 0.08 < parts.count("test") / 5000 < 0.12
    assert 0.08 < parts.count("validation") / 5000 < 0.12


def test_train_test_split_keeps_every_label_in_every_part_and_repeats() -> None:
    labels = [f"intent {n % 14}" for n in range(563)]
    split = SplitSection(test_size=0.2, seed=42)
    parts = draw_stratified(labels, split)
    assert parts == draw_stratified(labels, split)
    assert parts != draw_stratified(labels, SplitSection(test_size=0.2, seed=1))
    assert parts.count("test") == 113
    for row in counts(labels, parts).values():
        assert 7 <= row["test"] <= 9
        assert row["validation"] >= 2


def test_buckets_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 9"):
        SplitSection(test=(10,))
    with pytest.raises(ValueError, match="share a bucket"):
        SplitSection(test=(1,), validation=(1,))
