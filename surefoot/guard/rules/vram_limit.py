"""Refuses a plan whose largest moment doesn't fit into memory (000, 001)."""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import found, mem_limit_gib
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"vram_limit": ("refuse", "more memory than [limits] or the device allows", "001, 000")}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast with the limit, and find the micro-batch that fits."""
    forecast = situation.forecast
    limit, key = mem_limit_gib(recipe, situation)
    if forecast.mem_gib <= limit:
        return
    rows = recipe.train.batch * recipe.train.accumulate
    fitting = [batch for batch, need in forecast.batch_mem_gib.items() if need <= limit]
    limited = key.startswith("limits.")
    if fitting:
        batch = max(fitting)
        instead = f"Write train.batch={batch} train.accumulate={rows // batch}"
    elif limited:
        needed = math.ceil(forecast.mem_gib * 100) / 100
        instead = f"Write {only(recipe, needed)} for a device that has it, or a smaller model"
    else:
        instead = "Write a smaller model.dim, model.layers or train.seq_len: one row is too much"
    what, value = ("train.batch", recipe.train.batch)
    bound = f"{key} = {limit:.2f} GiB" if limited else key
    why = f"the plan needs {forecast.mem_gib:.2f} GiB at its largest moment, over {bound} (001)"
    yield found("vram_limit", "refuse", what, value, why, instead)


def only(recipe: Recipe, needed: float) -> str:
    """Write the limit in the unit that the recipe has it in."""
    if recipe.limits.mem_gib is not None:
        return f"limits.mem_gib={needed:g}"
    return f"limits.mem_gb={math.ceil(needed * 2**30 / 1e7) / 100:g}"
