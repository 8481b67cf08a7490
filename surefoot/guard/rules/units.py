"""Refuses a memory limit that no such device has: most likely MiB written as GiB (004)."""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import final, found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"units": ("refuse!", "a memory limit beyond the device, as MiB read for GiB", "004")}
LARGEST_GIB = 1024.0  # more than any one device has


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the limit with the device."""
    limits = recipe.limits
    for name, value, size in (
        ("mem_gib", limits.mem_gib, 1.0),
        ("mem_gb", limits.mem_gb, 1e9 / 2**30),
    ):
        device = situation.device_gib or LARGEST_GIB
        if value is None or value * size <= device:
            continue
        meant = value / 1024
        fits = meant if meant * size <= device and value * size > 100 * device else device / size
        has = f"{device:.1f} GiB" if situation.device_gib else f"less than {LARGEST_GIB:.0f} GiB"
        why = f"the device has {has}: {value:g} MiB are {value / 1024:.1f} GiB (004)"
        instead = f"Write limits.{name}={math.floor(fits * 1000) / 1000:g}"
        yield final(found("units", "refuse", f"limits.{name}", value, why, instead))
