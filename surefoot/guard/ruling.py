"""What the rules of preflight share: how a finding is made, when a run is long, what memory is."""

import math
from dataclasses import replace
from typing import Any

from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.recipe.span import Span
from surefoot.records import Finding, Severity

LONG_STEPS = 5000  # of a run on a GPU, however fast it is (004)
SHARE = 0.92  # of the free memory that a plan may take
NEAR = 1e-9  # relative: 1/416 written out in decimals is still 1/416


def found(rule: str, severity: Severity, what: str, value: Any, why: str, instead: str) -> Finding:
    """Make a rule's finding; all four parts must be there."""
    return Finding(
        id=rule,
        severity=severity,
        what=what,
        value=shown(value),
        why=why,
        instead=instead,
        source="rule",
    )


def final(finding: Finding) -> Finding:
    """Mark a refusal that can't be accepted by name: no meaningful run exists behind it."""
    return replace(finding, evidence={**finding.evidence, "final": True})


def shown(value: Any) -> str:
    """Write a value as a recipe would."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def long_because(recipe: Recipe, situation: Situation) -> str:
    """Say why a run is long, or nothing: hours that it takes, or steps on a GPU."""
    forecast = situation.forecast
    if forecast.hours >= recipe.guard.long_hours:
        return f"{forecast.hours:.1f} h ({'timed' if forecast.source == 'timed' else 'roofline'})"
    if recipe.train.steps >= LONG_STEPS and situation.on_gpu:
        return f"{recipe.train.steps} steps on a GPU"
    return ""


def short_steps(recipe: Recipe, situation: Situation) -> int:
    """Give the most steps that this plan may have without being a long run."""
    steps, forecast = recipe.train.steps, situation.forecast
    fits = steps
    if forecast.seconds > 0:
        fits = math.ceil(steps * recipe.guard.long_hours / forecast.hours) - 1
    most = LONG_STEPS - 1 if situation.on_gpu else steps
    return max(1, min(fits, most, steps))


def step_tokens(recipe: Recipe, situation: Situation) -> int:
    """Count the tokens of one optimiser step, over all ranks."""
    train = recipe.train
    return train.batch * train.accumulate * situation.world * train.seq_len


def mem_limit_gib(recipe: Recipe, situation: Situation) -> tuple[float, str]:
    """Give the memory that the plan may take, and the key or word that says so; inf if unknown."""
    limits, free = recipe.limits, situation.forecast.mem_free_gib
    bounds: list[tuple[float, str]] = [(math.inf, "")]
    if limits.mem_gib is not None:
        bounds.append((limits.mem_gib, "limits.mem_gib"))
    if limits.mem_gb is not None:
        bounds.append((limits.mem_gb * 1e9 / 2**30, "limits.mem_gb"))
    if free is not None:
        bounds.append((SHARE * free, f"{SHARE:.0%} of the {free:.2f} GiB that are free"))
    return min(bounds)


def checkpoints(recipe: Recipe, keep: int | str) -> int:
    """Count the checkpoints that lie on the disk at once: those kept, and the one being written.

    Beside the newest are pre-decay, the trusted one and best.
    """
    save, steps = recipe.save, recipe.train.steps
    made = (steps // save.every if save.every else 0) + 3
    return made if isinstance(keep, str) else min(made, keep + 4 + len(save.milestones))


def warmup(recipe: Recipe) -> int | None:
    """Count the updates of the learning rate's way up; None where its schedule tells of none."""
    options: Any = recipe.knobs["lr"]
    if hasattr(options, "ups"):
        return options.ups(Span(steps=recipe.train.steps, layers=recipe.model.layers))
    return 0 if options.kind == "constant" else None


def mixers(recipe: Recipe) -> dict[str, Any]:
    """Give the mixers that the pattern uses, by letter."""
    return {
        letter: options
        for letter, options in recipe.model.mixers.items()
        if letter in recipe.model.pattern
    }
