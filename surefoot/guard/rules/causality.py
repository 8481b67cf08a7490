"""Refuses a model that sees the future and calls itself causal."""

from collections.abc import Iterator

from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "causality": ("refuse", "the audit's quick form finds a layer that sees the future", "003, 004")
}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Pass on what the audit's quick form found."""
    for leak in situation.leaks or ():
        yield Finding(
            id="causality",
            severity="refuse",
            what="model.pattern",
            value=f'"{recipe.model.pattern}"',
            why=f"{leak}: a loss that has seen the answer says nothing (003, 004)",
            instead=f"Run  surefoot audit {recipe.name}  and mend the layer that it names",
            source="rule",
        )
