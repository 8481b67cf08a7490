"""Warm up, then straight down to the end.

f(s) = (s+1)/W below W, then 1 - (1-min) u, u = (s-W+1)/(S-W).
"""

from surefoot.plan.descent import Descent, Form
from surefoot.recipe.span import Span


class Options(Descent):
    """Straight down."""

    kind: str = "linear"

    def downs(self, span: Span) -> int:
        """Count the updates of the way down: all that are left."""
        return max(0, span.steps - self.ups(span))

    def form(self) -> Form:
        """Name the form of the way down."""
        return "linear"
