"""What the schedules of a learning rate share: the way up, the way down, and whether both fit."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field

from surefoot.errors import Problem
from surefoot.recipe.choice import Choice
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


class Descent(Choice):
    """A way up, perhaps a level, and a way down; a schedule says how long and in which form."""

    warmup: Annotated[int, Field(ge=0)] | None = None
    """Updates of the way up; left out: max(100, 1% of the steps), at most a tenth"""
    min: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak at the last update"""

    @abstractmethod
    def downs(self, span: Span) -> int:
        """Count the updates of the way down."""

    @abstractmethod
    def form(self) -> Form:
        """Name the form of the way down."""

    def resolved(self, span: Span) -> Self:
        """Write out what depends on the run's length."""
        return self.model_copy(update={"warmup": self.ups(span)})

    def ups(self, span: Span) -> int:
        """Count the updates of the way up."""
        return default_warmup(span) if self.warmup is None else self.warmup

    def at(self, update: int, span: Span) -> float:
        """Give the share of the peak at an update, counted from 0."""
        down = (span.steps - self.downs(span), span.steps)
        return multiplier(update, self.ups(span), down, self.min, self.form())

    def bounds(self, span: Span) -> tuple[float, float]:
        """Give the least and the largest value of the run."""
        ups = self.ups(span)
        return min(self.min if self.downs(span) else 1.0, 1 / ups if ups else 1.0), 1.0

    def jump(self, span: Span) -> float:
        """Give the largest change from one update to the next."""
        return largest_jump(self.ups(span), self.downs(span), self.min, self.form())

    def problems(self, key: str, span: Span) -> Iterator[Problem]:
        """Say so if warm-up and decay together are longer than the run."""
        up, down = self.ups(span), self.downs(span)
        if up + down <= span.steps:
            return
        room = max(0, span.steps - down)
        share = next((name for name in type(self).model_fields if name.endswith("_share")), "")
        yield Problem(
            what=f"{key}.warmup",
            value=str(up),
            why=f"warm-up ({up}) and decay ({down}) are more than train.steps = {span.steps} "
            "(wsd_phases)",
            instead=f"Write {key}.warmup={min(up, room or span.steps // 10)}"
            + ("" if room or not share else f" {key}.{share}=0.2"),
        )
