"""Judges how the learning rate begins, and whether it is one to train from scratch with (001)."""

from collections.abc import Iterator
from typing import Any

from surefoot.guard.ruling import NEAR, found, warmup
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "warmup_share": ("warn, note", "a warm-up outside .5% to 10%, or none with Adam", "001"),
    "lr_scratch": ("warn", "a peak below 1e-4 for Adam on random weights", "001"),
}
LEAST, MOST, USUAL = 0.005, 0.10, 0.05
WHOLE = 100  # steps from which a share of them says anything
NEEDING = ("adam", "row_adam", "lion")
SCRATCH, BEST = 1e-4, 3e-4


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look at the first updates and at the peak."""
    ups, steps = warmup(recipe), recipe.train.steps
    if ups is not None and steps >= WHOLE:
        yield from beginning(recipe, ups, ups / steps)
    small = {
        role: options.lr
        for role, options in rated(recipe).items()
        if options.kind == "adam" and 0 < options.lr < SCRATCH
    }
    if small and not situation.resumed_step and not situation.begun_from:
        what = " ".join(f"optim.{role}.lr" for role in small)
        why = (
            f"{SCRATCH:g} is low for Adam on random weights; 001's 2e-5 is a rate to fine-tune a "
            "trained model with"
        )
        literals = " ".join(f"optim.{role}.lr={BEST:g}" for role in small)
        yield found("lr_scratch", "warn", what, next(iter(small.values())), why,
                    f"Write {literals}")  # fmt: skip


def rated(recipe: Recipe) -> dict[str, Any]:
    """Give the options of each role's optimiser."""
    return dict(recipe.optim)


def beginning(recipe: Recipe, ups: int, share: float) -> Iterator[Finding]:
    """Judge the way up."""
    best = max(1, round(USUAL * recipe.train.steps))
    kind = "" if hasattr(recipe.knobs["lr"], "ups") else ' knobs.lr.kind="wsd"'
    instead = f"Write knobs.lr.warmup={best}{kind}"
    needing = sorted({o.kind for o in rated(recipe).values() if o.kind in NEEDING})
    if ups == 0 and needing:
        why = (
            f"{' and '.join(needing)} begin at full rate with no estimate of the gradient's size; "
            "001 takes 5%"
        )
        yield found("warmup_share", "warn", "knobs.lr.warmup", ups, why, instead)
    elif not LEAST * (1 - NEAR) <= share <= MOST * (1 + NEAR):
        why = f"it is {share:.1%} of the steps; {LEAST:.1%} to {MOST:.0%} is usual, 001 takes 5%"
        yield found("warmup_share", "note", "knobs.lr.warmup", ups, why, instead)
