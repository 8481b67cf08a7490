"""Weights, recipe and tokenizer of any model, for surefoot itself: --init-from reads them back."""

from collections.abc import Iterator
from typing import Any

from surefoot.errors import Problem
from surefoot.recipe import write
from surefoot.shelf.export import CONFIG, Made, as_json
from surefoot.shelf.format import FORMAT, TOKENIZER

LOADED_BY = "surefoot train RECIPE --init-from {folder}"


def name(ours: str) -> str:
    """Keep a tensor's name."""
    return ours


def tables(made: Made) -> dict[str, Any]:
    """Give the model's own [model] table: nothing is lost."""
    return made.recipe.model.model_dump(exclude_none=True)


def problems(_made: Made) -> Iterator[Problem]:
    """Find nothing that can't be said."""
    yield from ()


def files(made: Made, dtype: str) -> dict[str, bytes]:
    """Write what lies beside the weights."""
    about = {"model_type": "surefoot", "format": FORMAT, "torch_dtype": dtype}
    told = as_json({**about, "recipe": write.tables(made.recipe)})
    return {CONFIG: told, TOKENIZER: made.tokenizer.save()}
