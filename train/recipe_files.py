"""Reading of recipes: files, `--set`, and errors as sentences.

A recipe is checked as a whole before anything is loaded: an unknown key, a wrong type or an
impossible value is one sentence that names it. `--set section.key=value` replaces single values.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from daemon.base.errors import UserError, os_reason
from daemon.base.text import did_you_mean, split_assignment, value_text
from daemon.base.text_files import read_text
from train.recipe import WORLD, DataSection, Recipe


def find_recipe(name: str) -> Path:
    """The recipe file itself, or a shipped recipe by bare name ("commands")."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(
            f"{name} is a folder and no recipe; a recipe is a TOML file that names such folders "
            "(docs/training.md)."
        )
    shipped = files("train") / "recipes" / (name if name.endswith(".toml") else f"{name}.toml")
    if path.name == name and shipped.is_file():
        return Path(str(shipped))
    known = sorted(p.name[:-5] for p in (files("train") / "recipes").iterdir())
    raise UserError(f"No recipe {name!r}: give a TOML file or one of {', '.join(known)}.")


def load_recipe(name: str, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe `name`, with `section.key=value` assignments.

    Values are in TOML, or bare text.

    Raises: UserError with the file and the key if anything in it is wrong.
    """
    path = find_recipe(name)
    try:
        tree: dict[str, Any] = tomllib.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({os_reason(error)}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error
    tree.setdefault("name", path.stem)
    for assignment in assignments:
        _assign(tree, assignment)
    try:
        return with_world(Recipe.model_validate(tree))
    except ValidationError as error:
        given = {assignment.partition("=")[0].strip() for assignment in assignments}
        raise UserError(_sentence(path, given, error.errors()[0])) from error


def with_world(recipe: Recipe) -> Recipe:
    """The recipe with the shipped recordings as one more source.

    Only where it wants them: its `world` is not off, and it has a label for what is no intent.
    """
    if not recipe.world or recipe.distil is not None or not recipe.model.non_intents:
        return recipe
    if any(section.path == WORLD for section in recipe.data):
        return recipe
    names = recipe.model.non_intents
    section = DataSection(
        path=WORLD,
        label="unknown" if "unknown" in names else names[0],
        placing="crop",
        attribution="The recordings in train/world of intentd; its README names their authors",
    )
    return recipe.model_copy(update={"data": (*recipe.data, section)})


def _sentence(path: Path, given: set[str], problem: Any) -> str:
    """Pydantic's error as a sentence with the key's source.

    `given` are the keys of --set.
    """
    where = ".".join(str(part) for part in problem["loc"])
    source = f"--set {where}" if where in given else ": ".join(filter(None, (str(path), where)))
    if problem["type"] == "extra_forbidden":
        hint = did_you_mean(str(problem["loc"][-1]), _names_beside(problem["loc"]))
        return f"{source} is no key of a recipe{hint or '.'}"
    if problem["type"] == "missing":
        return f"{source} is missing."
    expected = problem["msg"].removeprefix("Value error, ")
    if not expected.startswith("Input should"):
        return f"{source}: {expected}."
    if problem["type"] == "model_type":
        expected = "Input should be a table"
    if problem["type"].endswith("_parsing"):  # the rest names pydantic's parser
        expected = expected.partition(",")[0]
    expected = expected.removeprefix("Input should ").replace("valid tuple", "list")
    return f"{source} is {value_text(problem['input'])}; it should {expected}."


def _names_beside(loc: tuple[str | int, ...]) -> list[str]:
    """The keys of the section that a key is in."""
    section: type[BaseModel] = Recipe
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        kind = section.model_fields[part].annotation
        inner = [a for a in (kind, *get_args(kind)) if inspect.isclass(a)]
        section = next(a for a in inner if issubclass(a, BaseModel))
    return list(section.model_fields)


def _assign(tree: dict[str, Any], assignment: str) -> None:
    path, text = split_assignment(assignment, "train.epochs=3")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path
    node: Any = tree
    for parent in parents:
        if isinstance(node, list):
            if not parent.isdigit() or int(parent) >= len(node):
                raise UserError(f"--set {assignment!r}: there is no entry {parent!r}.")
            node = node[int(parent)]
        else:
            node = node.setdefault(parent, {})
    if not isinstance(node, dict):
        raise UserError(f"--set {assignment!r}: {'.'.join(parents)} is not a section.")
    node[last] = value
