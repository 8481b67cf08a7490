"""Refuses a plan that needs more memory, time or disk than [limits] allows."""

from collections.abc import Iterator

from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the forecast with each limit that is set, and memory with the machine's."""
    limits, forecast, train = recipe.limits, situation.forecast, recipe.train
    mem = limits.mem_gib if limits.mem_gib is not None else (limits.mem_gb or 0) * 1e9 / 2**30
    if mem and forecast.mem_gib > mem:
        rows = max(1, int(train.batch * mem / forecast.mem_gib))
        key = "limits.mem_gib" if limits.mem_gib is not None else "limits.mem_gb"
        yield refusal(
            key,
            f"{limits.mem_gib or limits.mem_gb}",
            f"the plan needs {forecast.mem_gib:.2f} GiB (the limit is {mem:.2f} GiB)",
            f"Write train.batch={rows} train.accumulate={train.accumulate * train.batch // rows}",
        )
    elif not mem and forecast.mem_gib > 0.92 * forecast.mem_free_gib:
        rows = max(1, train.batch // 2)
        yield refusal(
            "train.batch",
            f"{train.batch}",
            f"the plan needs {forecast.mem_gib:.2f} GiB and {forecast.mem_free_gib:.2f} GiB are "
            "there",
            f"Write train.batch={rows} train.accumulate={train.accumulate * 2}",
        )
    if limits.hours is not None and forecast.seconds / 3600 > limits.hours:
        fits = max(1, int(train.steps * limits.hours * 3600 / forecast.seconds))
        yield refusal(
            "limits.hours",
            f"{limits.hours}",
            f"{train.steps} steps will take {forecast.seconds / 3600:.2f} hours",
            f"Write train.steps={fits}",
        )
    if limits.disk_gib is not None and forecast.disk_gib > limits.disk_gib:
        yield refusal(
            "limits.disk_gib",
            f"{limits.disk_gib}",
            f"the run folder will need {forecast.disk_gib:.2f} GiB",
            "Write save.keep=1",
        )


def refusal(what: str, value: str, why: str, instead: str) -> Finding:
    """Refuse for one limit."""
    return Finding(
        id="limits",
        severity="refuse",
        what=what,
        value=value,
        why=why,
        instead=instead,
        source="rule",
    )
