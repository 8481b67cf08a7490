"""Sees losses and gradients that are not finite; their updates were already withheld."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """When single bad steps become a reason to act."""

    kind: str = "nonfinite"
    in_row: Annotated[int, Field(ge=1)] = 2
    """Whole steps one after the other that ask for a remedy"""
    in_window: Annotated[int, Field(ge=1)] = 3
    """Bad steps in 100 that are still only noted"""
    stop_row: Annotated[int, Field(ge=1)] = 5
    """Whole steps one after the other that stop the run"""


WINDOW = 100


class Monitor:
    """Counts bad steps: in a row, and in the last hundred."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.row = 0
        self.bad: list[int] = []  # steps, at most WINDOW of them

    def observe(self, record: Record) -> list[Finding]:
        """Note each bad step; several ask for a remedy, many in a row for a stop."""
        if not isinstance(record, Step):
            return []
        if not record.nonfinite:
            self.row = 0
            return []
        self.row += 1
        self.bad = [step for step in self.bad if record.step - WINDOW < step < record.step]
        self.bad.append(record.step)
        return [self.finding(record)]

    def finding(self, record: Step) -> Finding:
        """Say what is not finite, and how often."""
        options, many = self.options, len(self.bad) > self.options.in_window
        acts = many or self.row in (options.in_row, options.stop_row) or self.row > options.stop_row
        often = f", {self.row} in a row" if self.row > 1 else ""
        return Finding(
            id="nonfinite",
            severity="act" if acts else "note",
            what=f"step {record.step}",
            value=", ".join(record.nonfinite),
            why=f"not finite{often} ({len(self.bad)} of the last {WINDOW} steps)",
            instead="The update was left out: weights and optimiser state are untouched",
            evidence={
                "in_row": self.row,
                "in_window": len(self.bad),
                "stop": self.row >= options.stop_row,
                **record.nonfinite,
            },
            since=record.step - self.row + 1,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {"row": self.row, "bad": self.bad}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the counts back."""
        self.row, self.bad = int(state["row"]), list(state["bad"])
