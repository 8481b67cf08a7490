"""Begins a run from weights that are there: finds them, compares, and keeps where they lie."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from surefoot.data.tokenizer import Tokenizer, dump
from surefoot.data.tokenizers.file import Options, given
from surefoot.errors import Problem, RunError, SurefootError
from surefoot.guard.rules.init_from import SHAPES
from surefoot.learn.beginning import Matched, begin_from, matched
from surefoot.learn.learner import Learner
from surefoot.model import ffn
from surefoot.model.model import Model, letters
from surefoot.plan.shape import shape
from surefoot.recipe import schema
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Recipe
from surefoot.run.folder import find_run, is_run
from surefoot.run.resuming import flat
from surefoot.shelf import origin as origins
from surefoot.shelf.disk import Disk
from surefoot.shelf.format import TOKENIZER, parse_name
from surefoot.shelf.load import find
from surefoot.shelf.lock import small_json
from surefoot.shelf.origin import Origin
from surefoot.show.recipe_lines import toml

FILE = "origin.json"  # of a run folder: where its first weights lie, until it has saved its own
ALIKE = 1e-9  # relative: a number that was written in decimals is still the same
TRAINING = {"attention", "init_out", "label_smoothing", "z_loss"}  # weights don't hang on these
Unlike = tuple[str, str, str]  # a key, what the weights were made with, what the recipe has


@dataclass(frozen=True, slots=True)
class Begun:
    """Weights that a new run begins from, held against its recipe."""

    origin: Origin
    matched: Matched
    unlike: tuple[Unlike, ...]

    def row(self) -> dict[str, Any]:
        """Give what the journal tells of it."""
        return self.origin.row() | self.matched.row()

    def situation(self) -> dict[str, Any]:
        """Give what the rules judge it by."""
        return {"begun_from": str(self.origin.place), "begun_unlike": self.unlike}

    def __str__(self) -> str:
        lacking = "" if self.origin.tokenizer else "; it came without a tokenizer"
        return f"{self.origin.place}: {self.matched}; every optimiser begins afresh{lacking}"


def origin_of(text: str) -> Origin:
    """Find what a person means: a run's newest checkpoint, a checkpoint, a folder, or a file."""
    place = Path(text)
    checkpoint = place.is_dir() and parse_name(place.resolve().name) is not None
    if not (place.exists() and (checkpoint or not is_run(place))):
        place = find(find_run(text), "latest").path
    return origins.read(place)


def adopted(recipe: Recipe, origin: Origin, typed: frozenset[str]) -> Recipe:
    """Take over the weights' tokenizer and vocabulary, unless the command line has its own."""
    rows = origin.model.get("vocab")
    if rows and not recipe.model.vocab:
        model = recipe.model.model_copy(update={"vocab": rows})
        recipe = recipe.model_copy(update={"model": model})
    if origin.tokenizer is None or any(key.startswith("data.tokenizer") for key in typed):
        return recipe
    if recipe.data.tokenizer.kind == "byte" and given(origin.tokenizer).save() == dump("byte"):
        return recipe  # there is but one
    return with_tokenizer(recipe, str(origin.tokenizer))


def compared(recipe: Recipe, origin: Origin, tokenizer: Tokenizer) -> Begun:
    """Count what fits, and name what the weights were made with that the recipe has otherwise."""
    unlike = list(differences(origin.model, recipe.model)) if origin.model else []
    if origin.tokenizer and given(origin.tokenizer).save() != tokenizer.save():
        there = f'{{kind="file", path="{origin.tokenizer}"}}'
        unlike.append(("data.tokenizer", there, recipe.data.tokenizer.kind))
    if any(key.removeprefix("model.") in SHAPES for key, _, _ in unlike):
        return Begun(origin, Matched((), (), ()), tuple(unlike))  # a rule says what to write
    with torch.device("meta"):
        model = Model(recipe.model, shape(recipe))
    there = {name: slot.whole for name, slot in origin.slots.items()}
    return Begun(origin, matched(dict(model.named_parameters()), there), tuple(unlike))


def differences(made: Mapping[str, Any], here: schema.Model) -> Iterator[Unlike]:
    """Compare the [model] table of weights with the recipe's, layer by layer."""
    try:
        there = schema.Model.model_validate(dict(made))
    except ValidationError:  # of another version, or with parts that aren't installed: shapes tell
        return
    pairs = [("", facts(there), facts(here))]
    for ours, theirs in zip(letters(here), letters(there), strict=False):
        made_as, asked = flat(bare(there.mixers[theirs])), flat(bare(here.mixers[ours]))
        pairs.append((f"mixers.{ours}.", made_as, asked))
    told: dict[str, Unlike] = {}
    for prefix, theirs, ours in pairs:
        for key in theirs:
            if key in ours and not alike(theirs[key], ours[key]):
                name = f"model.{prefix}{key}"
                told[name] = (name, toml(theirs[key]), toml(ours[key]))
    yield from told.values()


def facts(model: schema.Model) -> dict[str, Any]:
    """Write a [model] table as dotted keys, with what it leaves to arithmetic."""
    left = {key: value for key, value in bare(model).items() if key not in ("mixers", "pattern")}
    sizes = Shape(model.dim, model.layers, model.heads, model.kv_heads, model.vocab, seq_len=1)
    more = {"kv_heads": model.kv_heads or model.heads, "ffn.width": ffn.width(sizes, model.ffn)}
    return flat(left) | more


def bare(section: BaseModel) -> dict[str, Any]:
    """Give a table without what only training or speed hang on."""
    found = section.model_dump(exclude=TRAINING)
    if isinstance(found.get("head"), dict):
        found["head"] = {k: v for k, v in found["head"].items() if k not in TRAINING}
    return found


def alike(a: Any, b: Any) -> bool:
    """Say whether two values are the same."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= ALIKE * max(abs(a), abs(b))
    return a == b


def keep(
    begun: Begun | None, tokenizer: Tokenizer, recipe: Recipe, folder: Path, disk: Disk
) -> Recipe:
    """Keep where a run's first weights lie, and a tokenizer that was made elsewhere whole."""
    if begun is not None:
        disk.write_atomic(folder / FILE, json.dumps({"v": 1, **begun.row()}).encode())
    if recipe.data.tokenizer.kind == "file":
        disk.write_atomic(folder / TOKENIZER, tokenizer.save())
    return own_tokenizer(recipe)


def own_tokenizer(recipe: Recipe) -> Recipe:
    """Let a recipe name the copy that its run's folder has, wherever that lies."""
    return with_tokenizer(recipe, TOKENIZER) if recipe.data.tokenizer.kind == "file" else recipe


def at_home(recipe: Recipe, folder: Path) -> Recipe:
    """Let the recipe of a run find that copy."""
    if recipe.data.tokenizer.kind != "file" or not (folder / TOKENIZER).is_file():
        return recipe
    return with_tokenizer(recipe, str(folder / TOKENIZER))


def with_tokenizer(recipe: Recipe, path: str) -> Recipe:
    """Let a recipe take its tokenizer from a file."""
    data = recipe.data.model_copy(update={"tokenizer": Options(path=path)})
    return recipe.model_copy(update={"data": data})


def begun_again(learner: Learner, folder: Path) -> dict[str, torch.Tensor]:
    """Let the learner of a run that began from weights begin from them; gives what it took."""
    if (origin := kept(folder)) is None:
        return {}
    tensors = origin.tensors()
    return {name: tensors[name] for name in begin_from(learner, tensors).taken}


def kept(folder: Path) -> Origin | None:
    """Read a run's first weights again, if it began from any; they must be the same."""
    told = small_json(folder / FILE)
    if not told:
        return None
    place, sha = str(told.get("place")), told.get("sha256")
    try:
        origin = origins.read(Path(place))
        why = "" if origin.sha == sha else "what lies there now is something else"
    except SurefootError as error:
        raise gone(folder, place, str(error)) from None
    if why:
        raise gone(folder, place, why)
    return origin


def gone(folder: Path, place: str, why: str) -> RunError:
    """Say that a run's first weights can't be had again."""
    return RunError(
        Problem(
            what=str(folder),
            value="",
            why=f"it began from {place} and goes back to its first values, but {why}",
            instead="Bring these weights back, or start a new run with --init-from",
        )
    )
