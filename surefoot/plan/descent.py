"""What the schedules of a learning rate share: the way up, the way down, and whether both fit."""

import math
from collections.abc import Callable, Iterator
from typing import Literal

from surefoot.errors import Problem
from surefoot.recipe.span import Span

Form = Literal["cosine", "linear", "sqrt"]

FORMS: dict[str, Callable[[float], float]] = {
    "cosine": lambda u: 0.5 * (1 + math.cos(math.pi * u)),
    "linear": lambda u: 1 - u,
    "sqrt": lambda u: 1 - math.sqrt(u),
}
STEEPEST = {"cosine": math.pi / 2, "linear": 1.0}  # of a form, against its mean slope


def default_warmup(span: Span) -> int:
    """Give the warm-up where none is named: 1%, at least 100 updates, at most a tenth of all."""
    return min(max(100, round(0.01 * span.steps)), span.steps // 10)


def multiplier(update: int, warmup: int, down: tuple[int, int], floor: float, form: Form) -> float:
    """Give a share of the peak: up over `warmup` updates, down over the updates [first, end)."""
    if update < warmup:
        return (update + 1) / warmup
    first, end = down
    if update < first:
        return 1.0
    u = min(1.0, (update - first + 1) / (end - first))
    return floor + (1 - floor) * FORMS[form](u)


def largest_jump(warmup: int, down: int, floor: float, form: Form) -> float:
    """Bound the change from one update to the next."""
    up = 1 / warmup if warmup else 0.0
    if not down:
        return up
    steep = math.sqrt(1 / down) if form == "sqrt" else STEEPEST[form] / down
    return max(up, (1 - floor) * min(1.0, steep)) + 1e-12


def phases_fit(key: str, warmup: int, down: int, share: str, span: Span) -> Iterator[Problem]:
    """Say so if warm-up and decay together are longer than the run."""
    if warmup + down <= span.steps:
        return
    room = max(0, span.steps - down)
    yield Problem(
        what=f"{key}.warmup",
        value=str(warmup),
        why=f"warm-up ({warmup}) and decay ({down}) are more than train.steps = {span.steps} "
        "(wsd_phases)",
        instead=f"Write {key}.warmup={min(warmup, room or span.steps // 10)}"
        + ("" if room else f" {key}.{share}=0.2"),
    )
