"""The recordings that ship: whole, attributed, split by speaker."""

from __future__ import annotations

import io
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from support.small_world import small_world
from support.train_helpers import recipe_tree, write_recipe, write_words

from train import world
from train.data.clips import load_clips
from train.data.phonemes import Spoken
from train.data.split import bucket
from train.recipe import WORLD
from train.recipe_files import load_recipe

FOLDER = Path(world.__file__).parent


def test_fits_the_package_and_decodes() -> None:
    assert world.world_file().stat().st_size < 30e6
    pack = world.recordings()
    kinds = Counter((each.part, each.kind) for each in pack)
    assert len(kinds) == 6
    for each in pack[::40]:
        assert soundfile.info(io.BytesIO(each.data)).subtype == "OPUS"
        samples = each.audio
        assert 0.3 < len(samples) / world.RATE < 30
        assert np.isfinite(samples).all() and np.abs(samples).max() > 0.003


def test_says_what_is_reported_by_whom_and_under_which_licence() -> None:
    pack = world.recordings()
    speech = [each for each in pack if each.kind != world.NOISE]
    assert all(each.spoken.text and each.language for each in speech)
    assert sum(bool(each.spoken.phonemes) for each in speech) > 0.8 * len(speech)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for source in {each.source for each in pack}:
        assert f"`{source}`" in readme
    assert "kitchen" not in {each.path for each in pack}


def test_no_speaker_is_in_both_parts_and_recipes_split_it_alike() -> None:
    for each in world.recordings():
        if each.kind != world.NOISE:
            assert (bucket(each.key, 10) < 2) == (each.part == world.HELD_OUT)


def test_sentences_with_the_words_are_left_out() -> None:
    pack = world.recordings()
    left = world.without([Spoken("house")])
    assert 0 < len(pack) - len(left) < 30
    for number in set(range(len(pack))) - set(left):
        assert "house" in pack[number].spoken.text.casefold()


def test_recipes_get_it_unless_they_say_no(tmp_path: Path) -> None:
    tree = recipe_tree(write_words(tmp_path / "words", ("rise", "fall", "flat"), 8), tmp_path)
    del tree["world"]
    recipe = load_recipe(str(write_recipe(tmp_path / "with.toml", tree)))
    assert [section.path for section in recipe.data] == ["words", WORLD]
    with small_world(tmp_path):
        clips = [clip for clip in load_clips(recipe).clips if clip.source == 1]
    assert {clip.label for clip in clips} == {"flat"}
    # Ten sentences a part; the first of each says "rise".
    assert len(clips) == 18
    without = load_recipe(str(tmp_path / "with.toml"), ["world=false"])
    assert [section.path for section in without.data] == ["words"]
    closed = tree | {"model": tree["model"] | {"non_intents": []}}
    recipe = load_recipe(str(write_recipe(tmp_path / "closed.toml", closed)))
    assert [section.path for section in recipe.data] == ["words"]
    assert (
        tomllib.loads((FOLDER.parent / "recipes" / "commands.toml").read_text())["world"] is False
    )
