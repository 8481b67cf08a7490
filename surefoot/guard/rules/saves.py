"""Refuses a long run without checkpoints, and warns where they are far apart (004)."""

from collections.abc import Iterator

from surefoot.guard.ruling import LONG_STEPS, found, long_because
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "save_every": ("refuse", "save.every = 0 in a run of 5000 steps or more, or a long one", "004"),
    "save_sparse": (
        "warn",
        "over 60 minutes between saves, or over a tenth of a long run's steps",
        "004",
    ),
}
MINUTES = 60
SHARE = 0.1


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look at what a crash would cost."""
    every, steps = recipe.save.every, recipe.train.steps
    long = long_because(recipe, situation)
    what = "save.every"
    if every == 0 and (steps >= LONG_STEPS or long):
        why = (
            f"a run of {long or f'{steps} steps'} without a checkpoint loses everything to one "
            "crash (004)"
        )
        instead = f"Write save.every={min(LONG_STEPS, within(30, recipe, situation))}"
        yield found("save_every", "refuse", what, every, why, instead)
        return
    apart = every or steps
    minutes = situation.forecast.seconds / steps * apart / 60
    share = apart / steps
    if minutes > MINUTES or (long and share > SHARE * (1 + 1e-9)):
        why = (
            f"{minutes:.0f} min of work, {share:.0%} of the steps, lie between two saves and are "
            "lost to a crash (004)"
        )
        best = min(within(30, recipe, situation), max(1, int(SHARE * steps)))
        yield found("save_sparse", "warn", what, every, why, f"Write save.every={best}")


def within(minutes: float, recipe: Recipe, situation: Situation) -> int:
    """Count the steps of so many minutes, at most all."""
    steps, seconds = recipe.train.steps, situation.forecast.seconds
    return min(steps, max(1, int(minutes * 60 * steps / seconds))) if seconds > 0 else steps
