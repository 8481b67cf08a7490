"""Warm up, stay, decay: the peak is held until the last `decay_share` of the run.

f(s) = (s+1)/W below W, 1 until S-D, then min + (1-min) shape(u), u = (s-(S-D)+1)/D,
D = round(decay_share S).
The first update is at 1/W of the peak, the last exactly at min.
"""

from typing import Annotated

from pydantic import Field

from surefoot.plan.descent import Descent, Form
from surefoot.recipe.span import Span


class Options(Descent):
    """Warmup, stable, decay."""

    kind: str = "wsd"
    decay_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the run that the way down takes"""
    min: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the peak at the last update"""
    shape: Form = "cosine"
    """Form of the way down"""

    def downs(self, span: Span) -> int:
        """Count the updates of the way down."""
        return round(self.decay_share * span.steps)

    def form(self) -> Form:
        """Name the form of the way down."""
        return self.shape

    def decay_start(self, span: Span) -> int | None:
        """Give the first update of the way down."""
        return span.steps - self.downs(span) if self.downs(span) else None
