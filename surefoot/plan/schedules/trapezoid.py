"""Warm up, stay, then straight down over the last `cooldown_share` of the run.

f(s) = (s+1)/W below W, 1 until S-D, then 1 - (1-min) u, u = (s-(S-D)+1)/D; D = round(share*S).
"""

from typing import Annotated

from pydantic import Field

from surefoot.plan.descent import Descent, Form
from surefoot.recipe.span import Span


class Options(Descent):
    """A trapezoid."""

    kind: str = "trapezoid"
    cooldown_share: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of the run that the way down takes"""

    def downs(self, span: Span) -> int:
        """Count the updates of the way down."""
        return round(self.cooldown_share * span.steps)

    def form(self) -> Form:
        """Name the form of the way down."""
        return "linear"

    def decay_start(self, span: Span) -> int | None:
        """Give the first update of the way down."""
        return span.steps - self.downs(span) if self.downs(span) else None
