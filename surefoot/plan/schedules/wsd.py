"""Warm up, stay, decay: the peak is held until the last `decay_share` of the run.

f(s) = (s+1)/W below W, 1 until S-D, then min + (1-min) shape(u), u = (s-(S-D)+1)/D,
D = round(decay_share S).
The first update is at 1/W of the peak, the last exactly at min.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from surefoot.errors import Problem
from surefoot.plan.descent import default_warmup, largest_jump, multiplier, phases_fit
from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span


class Options(Choice):
    """Warmup, stable, decay."""

    kind: str = "wsd"
    warmup: Annotated[int, Field(ge=0)] | None = None
    """Updates of the way up; left out: max(100, 1% of the steps), at most a tenth"""
    decay_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the run that the way down takes"""
    min: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the peak at the last update"""
    shape: Literal["cosine", "linear", "sqrt"] = "cosine"
    """Form of the way down"""

    def resolved(self, span: Span) -> "Options":
        """Write out what depends on the run's length."""
        return self.model_copy(update={"warmup": self.ups(span)})

    def ups(self, span: Span) -> int:
        """Count the updates of the way up."""
        return default_warmup(span) if self.warmup is None else self.warmup

    def downs(self, span: Span) -> int:
        """Count the updates of the way down."""
        return round(self.decay_share * span.steps)

    def at(self, update: int, span: Span) -> float:
        """Give the share of the peak at an update, counted from 0."""
        down = (span.steps - self.downs(span), span.steps)
        return multiplier(update, self.ups(span), down, self.min, self.shape)

    def decay_start(self, span: Span) -> int | None:
        """Give the first update of the way down."""
        return span.steps - self.downs(span) if self.downs(span) else None

    def bounds(self, span: Span) -> tuple[float, float]:
        """Give the least and the largest value of the run."""
        ups = self.ups(span)
        return min(self.min if self.downs(span) else 1.0, 1 / ups if ups else 1.0), 1.0

    def jump(self, span: Span) -> float:
        """Give the largest change from one update to the next."""
        return largest_jump(self.ups(span), self.downs(span), self.min, self.shape)

    def problems(self, key: str, span: Span) -> Iterator[Problem]:
        """Say what doesn't fit into the run."""
        yield from phases_fit(key, self.ups(span), self.downs(span), "decay_share", span)
