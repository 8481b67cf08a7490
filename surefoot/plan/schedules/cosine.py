"""Warm up, then half a cosine down to the end.

f(s) = (s+1)/W below W, then min + (1-min) (1 + cos(pi u))/2, u = (s-W+1)/(S-W).
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from surefoot.errors import Problem
from surefoot.plan.descent import default_warmup, largest_jump, multiplier, phases_fit
from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span


class Options(Choice):
    """Half a cosine."""

    kind: str = "cosine"
    warmup: Annotated[int, Field(ge=0)] | None = None
    """Updates of the way up; left out: max(100, 1% of the steps), at most a tenth"""
    min: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak at the last update"""

    def resolved(self, span: Span) -> "Options":
        """Write out what depends on the run's length."""
        return self.model_copy(update={"warmup": self.ups(span)})

    def ups(self, span: Span) -> int:
        """Count the updates of the way up."""
        return default_warmup(span) if self.warmup is None else self.warmup

    def downs(self, span: Span) -> int:
        """Count the updates of the way down."""
        return max(0, span.steps - self.ups(span))

    def at(self, update: int, span: Span) -> float:
        """Give the share of the peak at an update, counted from 0."""
        down = (span.steps - self.downs(span), span.steps)
        return multiplier(update, self.ups(span), down, self.min, "cosine")

    def bounds(self, span: Span) -> tuple[float, float]:
        """Give the least and the largest value of the run."""
        ups = self.ups(span)
        return min(self.min if self.downs(span) else 1.0, 1 / ups if ups else 1.0), 1.0

    def jump(self, span: Span) -> float:
        """Give the largest change from one update to the next."""
        return largest_jump(self.ups(span), self.downs(span), self.min, "cosine")

    def problems(self, key: str, span: Span) -> Iterator[Problem]:
        """Say what doesn't fit into the run."""
        yield from phases_fit(key, self.ups(span), self.downs(span), "warmup", span)
