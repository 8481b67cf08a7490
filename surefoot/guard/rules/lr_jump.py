"""Refuses a resume whose learning rate would jump, and names the three ways out (003)."""

from collections.abc import Iterator

from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"lr_jump": ("refuse, warn", "a resume whose learning rate jumps by over 1.5 (1.1)", "003")}
REFUSED = 1.5
WARNED = 1.1


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the next step's rate with the one the loaded weights were last stepped at."""
    if not situation.plan_changed or not situation.lr_last or not situation.lr_next:
        return
    before, after = situation.lr_last, situation.lr_next
    ratios = {role: after[role] / before[role] for role in before if before[role] > 0}
    if not ratios:
        return
    role = max(ratios, key=ratios.__getitem__)
    if ratios[role] <= WARNED:
        return
    step = situation.resumed_step
    kept = situation.pre_decay_step
    resume = f"surefoot train --resume {situation.run} train.steps={recipe.train.steps}"
    peak = after.get("matrix", max(after.values()))  # which rate peak=X speaks of
    ways = (
        [f"{resume} --resume-lr branch  (from step {kept}, the last before decay)"] if kept else []
    )
    ways += [f"{resume} --resume-lr ramp", f"{resume} --resume-lr peak={peak / 4:.3g}"]
    missing = "" if kept else " (no checkpoint from before the decay was kept to branch from)"
    yield Finding(
        id="lr_jump",
        severity="refuse" if ratios[role] > REFUSED else "warn",
        what=f"lr of {role} at step {step + 1}",
        value=f"{after[role]:.3g}",
        why=f"step {step} used {before[role]:.3g}, so it would jump by x{ratios[role]:.1f}; 003's "
        "engram-v2 never came back from such a jump",
        instead=f"Write  {'  or  '.join(ways)}{missing}",
        evidence={"ratio": ratios, "last": dict(before), "next": dict(after)},
        source="rule",
    )
