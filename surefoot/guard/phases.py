"""What a recipe says of a run's phases, for who judges its steps; defaults where there is none."""

from collections.abc import Mapping
from typing import Any

from surefoot.recipe.span import Span

WARMUP = 100  # steps, where no recipe tells


def warmup(facts: Mapping[str, Any]) -> int:
    """Give the steps over which the learning rate rises."""
    recipe = facts.get("recipe")
    if recipe is None:
        return WARMUP
    ups = getattr(recipe.knobs.get("lr"), "ups", None)
    return int(ups(Span(steps=recipe.train.steps, layers=recipe.model.layers))) if ups else 0


def epoch_steps(facts: Mapping[str, Any]) -> int:
    """Give the steps of an epoch where the recipe counts in them, else 0."""
    recipe = facts.get("recipe")
    told = getattr(recipe.knobs.get("lr"), "steps_per_epoch", 0) if recipe is not None else 0
    return int(told or 0)


def raise_due(facts: Mapping[str, Any], knobs: Mapping[str, Any]) -> bool:
    """Say whether a knob that is raised on a plateau has not reached its last value yet."""
    recipe = facts.get("recipe")
    for name, options in recipe.knobs.items() if recipe is not None else ():
        values: Any = getattr(options, "values", None) if options.kind == "raises" else None
        if values and isinstance(knobs.get(name), int | float) and knobs[name] < max(values):
            return True
    return False


def smoothing(facts: Mapping[str, Any]) -> tuple[float, int]:
    """Give the label smoothing, and the vocabulary's size."""
    recipe = facts.get("recipe")
    if recipe is None:  # a log of somebody else's, of which it may have been told
        return float(facts.get("label_smoothing", 0.0)), int(facts.get("vocab", 0))
    return float(getattr(recipe.model.head, "label_smoothing", 0.0)), int(recipe.model.vocab)
