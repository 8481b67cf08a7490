"""Writes a recipe with each default written out, as the run folder keeps it."""

import hashlib
from typing import Any

import tomli_w

from surefoot.recipe.schema import Recipe
from surefoot.recipe.span import Span


def tables(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as plain tables; what is absent (None) is left out."""
    raw = recipe.model_dump(by_alias=True, exclude_none=True)
    return {"schema": raw.pop("schema"), **raw}


def text(recipe: Recipe) -> str:
    """Write a recipe as TOML."""
    return tomli_w.dumps(tables(recipe))


def sha(recipe: Recipe) -> str:
    """Hash a resolved recipe, so that a team can pin it."""
    return hashlib.sha256(text(recipe).encode()).hexdigest()


def pin(recipe: Recipe) -> str:
    """Hash what a team agrees on: the resolved recipe without what one machine decides."""
    alike = recipe.train.model_copy(update={"threads": 0, "device": "auto"})
    return sha(recipe.model_copy(update={"train": alike}))


def resolved(recipe: Recipe, **train: Any) -> Recipe:
    """Write out what depends on the run's length, so that a changed default changes no old run."""
    train_section = recipe.train.model_copy(update={**train, "minutes": None})
    span = Span(steps=train_section.steps, layers=recipe.model.layers)
    knobs = {name: written_out(options, span) for name, options in recipe.knobs.items()}
    return recipe.model_copy(update={"train": train_section, "knobs": knobs})


def written_out(options: Any, span: Span) -> Any:
    """Fill in a schedule's defaults that depend on the run's length."""
    return options.resolved(span) if hasattr(options, "resolved") else options
