"""From one value to another over the first steps, straight or in equal stairs.

f(s) = start + (end-start) min(1, s/steps); with `round` = r, n = (end-start)/r + 1 equal stairs:
f(s) = start + r min(n-1, floor(n s/steps)).
"""

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from surefoot.errors import Problem
from surefoot.plan.stairs import straight_or_stairs, uneven
from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span


class Options(Choice):
    """A ramp."""

    kind: str = "ramp"
    start: float
    """Value of the first update"""
    end: float
    """Value at the end of the way, and from there on"""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Updates of the way; left out: `share` of the run"""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the run that the way takes"""
    round: Annotated[float, Field(ge=0)] = 0.0
    """Height of a stair; 0 = a straight line"""

    def length(self, span: Span) -> float:
        """Count the updates of the way."""
        return self.steps if self.steps is not None else self.share * span.steps

    def at(self, update: int, span: Span) -> float:
        """Give the value of an update, counted from 0."""
        return straight_or_stairs(update, (self.start, self.end), self.length(span), self.round)

    def bounds(self, span: Span) -> tuple[float, float]:  # noqa: ARG002 (the contract of a schedule)
        """Give the least and the largest value of the run."""
        return min(self.start, self.end), max(self.start, self.end)

    def jump(self, span: Span) -> float:
        """Give the largest change from one update to the next."""
        way = abs(self.end - self.start)
        if self.round:  # a way shorter than its stairs takes several of them at once
            return min(way, self.round * math.ceil((way / self.round + 1) / self.length(span)))
        return way / self.length(span) + 1e-12

    def problems(self, key: str, span: Span) -> Iterator[Problem]:  # noqa: ARG002
        """Say what can't be."""
        yield from uneven(key, self.start, self.end, self.round)
