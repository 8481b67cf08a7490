"""Refuses a run whose checkpoints don't fit on the disk."""

from collections.abc import Iterator

from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast with the free space."""
    forecast = situation.forecast
    if 1.1 * forecast.disk_gib <= forecast.disk_free_gib:
        return
    keep = recipe.save.keep
    yield Finding(
        id="disk",
        severity="refuse",
        what="save.keep",
        value=f"{keep}",
        why=f"the run folder will need {forecast.disk_gib:.2f} GiB and "
        f"{forecast.disk_free_gib:.2f} GiB are free (a full disk lost runs: 001)",
        instead="Write save.keep=1 or choose a folder on another disk with --run",
        source="rule",
    )
