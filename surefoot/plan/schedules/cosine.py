"""Warm up, then half a cosine down to the end.

f(s) = (s+1)/W below W, then min + (1-min) (1 + cos(pi u))/2, u = (s-W+1)/(S-W).
"""

from surefoot.plan.descent import Descent, Form
from surefoot.recipe.span import Span


class Options(Descent):
    """Half a cosine."""

    kind: str = "cosine"

    def downs(self, span: Span) -> int:
        """Count the updates of the way down: all that are left."""
        return max(0, span.steps - self.ups(span))

    def form(self) -> Form:
        """Name the form of the way down."""
        return "cosine"
