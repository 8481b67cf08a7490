"""The ways to go on where the rate would jump, or an optimiser begins afresh; all written down."""

from collections.abc import Mapping, Sequence
from typing import Any

from surefoot.errors import Problem, UsageError
from surefoot.plan.plan import Plan
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Remedy, parse
from surefoot.shelf.save import Content

RAMP = 200  # steps from the last rate to the planned one (003: 100 to 200)
PEAK_SHARE = 0.25  # of the old peak, where `peak` is given without a number


def start_of(how: str | None, start: str | None) -> str | None:
    """Give the checkpoint to go on from: a branch begins before the decay."""
    if how is None or how != "branch":
        return start
    if start not in (None, "pre-decay"):
        raise UsageError(
            Problem("--from", str(start), "--resume-lr branch chooses pre-decay", "Leave it out")
        )
    return "pre-decay"


def bends_of(content: Content | None) -> list[Event | Remedy]:
    """Give what has bent the plan up to a checkpoint."""
    raw = content.state["events"] if content is not None else []
    return [bend for row in raw if isinstance(bend := parse(row), Event | Remedy)]


def resumed_lr(how: str | None, recipe: Recipe, content: Content | None) -> list[Event]:
    """Turn --resume-lr into the event that bends the plan."""
    if how is None or how == "branch" or content is None:
        return []
    last = dict(content.state["metrics"].get("lr", {}))
    word, _, number = how.partition("=")
    steps = ramp_of(number) if word == "ramp" and number else RAMP
    args: dict[str, Any] = {"what": "resume_lr", "how": how, "lr_last": last, "ramp_steps": steps}
    if word != "ramp":
        args |= {"factor": peak_of(how, recipe, last), "ramp": 1}
    return [user(content, args)]


def ramp_of(number: str) -> int:
    """Read the steps of `ramp=STEPS`; the rule of a jump judges a ramp that is too short."""
    if number.isascii() and number.isdecimal() and int(number):
        return int(number)
    raise UsageError(
        Problem(
            what="--resume-lr",
            value=f"ramp={number}",
            why="a ramp takes a whole number of steps, 1 at least (003: 100 to 200)",
            instead=f"Write --resume-lr ramp={RAMP}",
        )
    )


def peak_of(how: str, recipe: Recipe, last: Mapping[str, float]) -> float:
    """Read `peak` or `peak=X`: the share of the recipe's peak that all rates get."""
    role = "matrix" if "matrix" in last else max(last, key=last.__getitem__)
    peak = float(getattr(recipe.optim[role], "lr", 0.0))
    word, _, number = how.partition("=")
    try:
        asked = float(number) if number else PEAK_SHARE * peak
    except ValueError:
        asked = -1.0
    if word != "peak" or not 0 < asked <= peak:
        raise UsageError(
            Problem(
                what="--resume-lr",
                value=how,
                why=f"it is branch, ramp, ramp=STEPS, or peak=X with X of {role} up to {peak:g}",
                instead=f"Write --resume-lr peak={PEAK_SHARE * peak:.3g}",
            )
        )
    return asked / peak


def fresh_roles(asked: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """Name the roles whose optimiser state is dropped by consent."""
    roles = tuple(recipe.optim)
    if "all" in asked:
        return roles
    if unknown := [role for role in asked if role not in roles]:
        raise UsageError(
            Problem(
                what="--fresh-optimizer",
                value=unknown[0],
                why="no parameter has this role",
                instead=f"Write --fresh-optimizer {roles[0]} (roles: {', '.join(roles)}, or all)",
            )
        )
    return tuple(asked)


def warmed_up(roles: Sequence[str], recipe: Recipe, content: Content | None) -> list[Event]:
    """Begin a fresh optimiser slowly: at full rate its first updates throw a model far off."""
    if not roles or content is None:
        return []
    planned = Plan(recipe, bends_of(content)).at(content.step + 1).lr
    low = {role: planned[role] / RAMP for role in roles}
    args = {"what": "fresh_optimizer", "lr_last": low, "ramp_steps": RAMP, "roles": list(roles)}
    return [user(content, args)]


def user(content: Content, args: dict[str, Any]) -> Event:
    """Make the event of a person's decision."""
    return Event(name="user", step=content.step + 1, generation=content.generation, args=args)
