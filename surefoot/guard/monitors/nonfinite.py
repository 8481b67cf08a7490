"""Sees losses and gradients that are not finite; their updates were already withheld."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """When single bad steps become a reason to stop."""

    kind: str = "nonfinite"
    in_row: Annotated[int, Field(ge=1)] = 5
    """Steps one after the other that stop the run"""


class Monitor:
    """Counts bad steps in a row."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.row = 0

    def observe(self, record: Record) -> list[Finding]:
        """Note each bad step; enough of them in a row ask for a stop."""
        if not isinstance(record, Step):
            return []
        if not record.nonfinite:
            self.row = 0
            return []
        self.row += 1
        enough = self.row >= self.options.in_row
        places = ", ".join(record.nonfinite)
        return [
            Finding(
                id="nonfinite",
                severity="act" if enough else "note",
                what=f"step {record.step}",
                value=places,
                why=f"not finite, {self.row} in a row" if self.row > 1 else "not finite",
                instead="The update was left out; weights and optimiser state are untouched"
                if not enough
                else "Resume with a lower rate: optim.matrix.lr",
                evidence={"in_row": self.row, **record.nonfinite},
                since=record.step - self.row + 1,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give the count."""
        return {"row": self.row}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the count back."""
        self.row = int(state["row"])
