"""Opens a run's model for reading: to generate, to evaluate, to audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from surefoot.data.tokenizer import Tokenizer, load
from surefoot.errors import Problem, ShelfError
from surefoot.learn.weights import load_weights
from surefoot.model.facts import forecast_parameters
from surefoot.model.model import Model, build
from surefoot.plan.plan import Plan, Value
from surefoot.plan.shape import shape
from surefoot.recipe.load import from_text
from surefoot.recipe.schema import Recipe
from surefoot.run.device import device_of
from surefoot.run.progress import Progress
from surefoot.shelf.load import find
from surefoot.shelf.load import load as load_checkpoint
from surefoot.shelf.save import Content

ROOM = 1.2  # a recipe may describe so many times the parameters that its checkpoint holds


@dataclass(frozen=True, slots=True)
class Opened:
    """A model as a checkpoint holds it."""

    model: Model
    tokenizer: Tokenizer
    knobs: Mapping[str, Value]  # of the checkpoint's step, not of the run's end
    recipe: Recipe
    step: int
    device: torch.device


def open_model(folder: Path, step: str | int | None = None, device: str = "auto") -> Opened:
    """Load the model of a run: of a step, `best`, `final`, `latest`, or the newest."""
    content, recipe, tokenizer = open_content(folder, step)
    insist(recipe, content, tokenizer)
    place = device_of(device)
    model = build(recipe.model, shape(recipe), recipe.train.seed, place)
    load_weights(model, content.model)
    progress = Progress.restored(content.step, content.generation, content.state)
    knobs = Plan(recipe, progress.bends).at(max(1, content.step)).values
    return Opened(model.eval(), tokenizer, knobs, recipe, content.step, place)


def open_content(folder: Path, step: str | int | None) -> tuple[Content, Recipe, Tokenizer]:
    """Load a checkpoint of a run, and read its recipe and its tokenizer."""
    content = load_checkpoint(folder if step in (None, "latest") else find(folder, step))
    recipe = from_text(content.recipe, f"{folder.name}/recipe.toml")
    return content, recipe, load(content.tokenizer)


def insist(recipe: Recipe, content: Content, tokenizer: Tokenizer) -> None:
    """Refuse, before any memory is taken, a recipe that is not of these weights and tokens."""
    told = sum(forecast_parameters(recipe.model, shape(recipe)).values())
    held = sum(tensor.numel() for tensor in content.model.values())
    wrong = [
        Problem(what, f"{value:,}", why, "Copy the run again from where it was whole")
        for what, value, most, why in (
            ("model", told, ROOM * held, f"its checkpoint holds {held:,} parameters"),
            ("tokenizer.json", tokenizer.vocab, recipe.model.vocab,
             f"the model knows {recipe.model.vocab:,} ids"),
        )
        if value > most
    ]  # fmt: skip
    if wrong:
        raise ShelfError(*wrong)
