"""One value for the whole run: f(s) = value."""

from typing import Annotated

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span


class Options(Choice):
    """A constant."""

    kind: str = "constant"
    value: Annotated[float, Field(ge=0)] = 1.0
    """The value"""

    def at(self, update: int, span: Span) -> float:  # noqa: ARG002 (the contract of a schedule)
        """Give the value of an update, counted from 0."""
        return self.value

    def bounds(self, span: Span) -> tuple[float, float]:  # noqa: ARG002
        """Give the least and the largest value of the run."""
        return self.value, self.value

    def jump(self, span: Span) -> float:  # noqa: ARG002
        """Give the largest change from one update to the next."""
        return 0.0
