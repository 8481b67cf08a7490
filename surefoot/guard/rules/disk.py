"""Refuses a run whose checkpoints don't fit on the disk (001, 004)."""

from collections.abc import Iterator

from surefoot.guard.ruling import checkpoints, found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"disk": ("refuse", "checkpoints and journal, and 2 GiB to spare, don't fit", "001, 004")}
SPARE_GIB = 2.0
MORE = 1.1


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast with the free space."""
    forecast, keep = situation.forecast, recipe.save.keep
    needed = MORE * (forecast.disk_gib + SPARE_GIB)
    if needed <= forecast.disk_free_gib:
        return
    less = (checkpoints(recipe, keep) - checkpoints(recipe, 1)) * forecast.checkpoint_gib
    saved = MORE * (forecast.disk_gib - less + SPARE_GIB) <= forecast.disk_free_gib
    elsewhere = "--run with a folder on another disk"
    instead = f"Write save.keep=1, or {elsewhere}" if saved else f"Write {elsewhere}"
    why = (
        f"with {SPARE_GIB:.0f} GiB to spare the run folder needs {needed:.2f} GiB, and "
        f"{forecast.disk_free_gib:.2f} GiB are free; a full disk loses the run (001)"
    )
    yield found("disk", "refuse", "save.keep", keep, why, instead)
