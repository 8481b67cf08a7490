"""Refuses a plan that needs more time, disk or money than [limits] allows (004)."""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import checkpoints, found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "limit_hours": ("refuse", "more hours than limits.hours", "004"),
    "limit_disk": ("refuse", "more disk than limits.disk_gib", "004"),
    "limit_cost": ("refuse, note", "more money than limits.cost; noted without a price", "004"),
}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast with each limit that is set."""
    limits, forecast, steps = recipe.limits, situation.forecast, recipe.train.steps
    if limits.hours is not None and forecast.hours > limits.hours:
        why = f"{steps} steps take {forecast.hours:.2f} hours ({forecast.source}) (004)"
        instead = f"Write train.steps={share_of(steps, limits.hours / forecast.hours)}"
        yield found("limit_hours", "refuse", "limits.hours", limits.hours, why, instead)
    if limits.disk_gib is not None and forecast.disk_gib > limits.disk_gib:
        why = f"the run folder needs {forecast.disk_gib:.3f} GiB (004)"
        yield found("limit_disk", "refuse", "limits.disk_gib", limits.disk_gib, why,
                    f"Write {lighter(recipe, situation, limits.disk_gib)}")  # fmt: skip
    yield from cost(recipe, situation)


def cost(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the price of all ranks' hours."""
    limits, hours = recipe.limits, situation.forecast.hours
    if limits.cost is None:
        return
    if limits.price_per_hour is None:
        why = "without the price of a device's hour nothing can be compared (004)"
        instead = "Write limits.price_per_hour=0.8 or what yours costs"
        yield found("limit_cost", "note", "limits.cost", limits.cost, why, instead)
        return
    total = hours * situation.world * limits.price_per_hour
    if total > limits.cost:
        why = (
            f"{hours:.2f} hours ({situation.forecast.source}) x {situation.world} x "
            f"{limits.price_per_hour:g} = {total:.2f} (004)"
        )
        instead = f"Write train.steps={share_of(recipe.train.steps, limits.cost / total)}"
        yield found("limit_cost", "refuse", "limits.cost", limits.cost, why, instead)


def share_of(steps: int, share: float) -> int:
    """Give the steps that fit, a little under: validations don't shrink with them."""
    return max(1, math.floor(0.98 * steps * share))


def lighter(recipe: Recipe, situation: Situation, limit: float) -> str:
    """Keep fewer checkpoints, or ask for the room that there must be."""
    forecast, keep = situation.forecast, recipe.save.keep
    less = (checkpoints(recipe, keep) - checkpoints(recipe, 1)) * forecast.checkpoint_gib
    if less > 0 and forecast.disk_gib - less <= limit:
        return "save.keep=1"
    return f"limits.disk_gib={math.ceil(forecast.disk_gib * 1000) / 1000:g}"
