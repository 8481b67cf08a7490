"""Refuses to spend a long run on a toy: the day that 004 lost."""

from collections.abc import Iterator

from surefoot.guard.ruling import found, long_because, short_steps
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "toy_size": (
        "refuse",
        "a long run of a toy: by its purpose, dim < 256, seq_len < 256, or under 5M parameters "
        "beside the embeddings",
        "004",
    )
}
DIM, SEQ_LEN, PARAMETERS = 256, 256, 5_000_000


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Name everything that makes it a toy."""
    long = long_because(recipe, situation)
    inner = situation.forecast.inner
    causes = {
        'purpose = "toy"': recipe.purpose == "toy",
        f"model.dim = {recipe.model.dim} < {DIM}": recipe.model.dim < DIM,
        f"train.seq_len = {recipe.train.seq_len} < {SEQ_LEN}": recipe.train.seq_len < SEQ_LEN,
        f"{inner:,} parameters beside the embeddings < {PARAMETERS:,}": inner < PARAMETERS,
    }
    named = [cause for cause, holds in causes.items() if holds]
    if not long or not named:
        return
    why = (
        f"{long} with {', '.join(named)}: a day of a two-GPU machine went into such a shape once, "
        "and the model was of no use (004)"
    )
    instead = f"Write train.steps={short_steps(recipe, situation)}, or a larger model and rows"
    yield found("toy_size", "refuse", "train.steps", recipe.train.steps, why, instead)
