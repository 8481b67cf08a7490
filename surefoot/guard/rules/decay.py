"""Warns of a learning rate that comes down late or never: 003 got a tenth of its loss from it."""

from collections.abc import Iterator
from typing import Any

from surefoot.guard.ruling import NEAR, found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "wsd_decay_short": (
        "refuse, warn",
        "a decay share under .20; refused if there is none in 1000 steps or more",
        "003",
    )
}
LEAST = 0.2
STEPS = 1000


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:  # noqa: ARG001
    """Look at the way down."""
    options: Any = recipe.knobs["lr"]
    if options.kind != "wsd" or options.decay_share >= LEAST * (1 - NEAR):
        return
    none = options.decay_share == 0 and recipe.train.steps >= STEPS
    why = (
        "the way down is where a stable rate's loss is cashed in: about a fifth of the run is "
        "usual (003)"
    )
    yield found(
        "wsd_decay_short",
        "refuse" if none else "warn",
        "knobs.lr.decay_share",
        options.decay_share,
        why,
        "Write knobs.lr.decay_share=0.2",
    )
