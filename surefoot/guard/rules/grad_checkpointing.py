"""Asks for gradient checkpointing where it buys memory that is short (004 wants it always).

It costs about a third more compute, so it is demanded where the plan takes over 60% of the device;
`guard.strict = true` restores 004's own rule.
"""

from collections.abc import Iterator

from surefoot.guard.ruling import SHARE, found, long_because, mem_limit_gib
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "long_no_grad_ckpt": (
        "refuse, note",
        "a long run without gradient checkpointing; refused over 60% of the device, or if strict",
        "004",
    )
}
FULL = 0.6


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast without it to the device."""
    long = long_because(recipe, situation)
    if recipe.train.grad_checkpointing or not long:
        return
    limit, key = mem_limit_gib(recipe, situation)
    device = limit if key.startswith("limits.") else limit / SHARE
    need = situation.forecast.mem_gib
    tight = need > FULL * device
    if tight:
        why = f"the plan takes {need:.2f} of {device:.2f} GiB, over {FULL:.0%}, for {long} (004)"
    elif recipe.guard.strict:
        why = f"the run is long ({long}) and guard.strict asks for it always (004)"
    else:
        why = (
            f"the run is long ({long}); its {need:.2f} GiB fit, so that a third more compute would "
            "buy nothing (004 wants it always)"
        )
    severity = "refuse" if tight or recipe.guard.strict else "note"
    instead = "Write train.grad_checkpointing=true"
    yield found("long_no_grad_ckpt", severity, "train.grad_checkpointing", False, why, instead)
