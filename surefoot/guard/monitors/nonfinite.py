"""Sees losses and gradients that are not finite; none of them reached the weights.

A micro-batch that was left out of its step is noted, and so is a step that was left out whole; many
within 100 steps, or whole steps one after the other, ask for a remedy and then for a stop.
"""

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
    """Micro-batches left out of 100 steps that are still only noted"""
    stop_row: Annotated[int, Field(ge=1)] = 5
    """Whole steps one after the other that stop the run"""


WINDOW = 100
NAMED = 3  # places that a finding names


class Monitor:
    """Counts what was left out: whole steps in a row, and all of the last hundred."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.row = 0
        self.bad: list[int] = []  # the step of each micro-batch left out, and of each whole step

    def observe(self, record: Record) -> list[Finding]:
        """Note each bad step; several ask for a remedy, many in a row for a stop."""
        if not isinstance(record, Step):
            return []
        if not record.nonfinite:
            self.row = 0
            return []
        parts = [] if record.skipped else record.skipped_micro or []
        self.row = 0 if parts else self.row + 1
        self.bad = [step for step in self.bad if record.step - WINDOW < step < record.step]
        self.bad += [record.step] * max(1, len(parts))
        return [self.part(record, parts) if parts else self.whole(record)]

    def part(self, record: Step, parts: list[Mapping[str, Any]]) -> Finding:
        """Say which micro-batches were left out of a step that was made of the others."""
        places = list(dict.fromkeys(f"rank {one['rank']}, {one['layer']}" for one in parts))
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        return Finding(
            id="nonfinite",
            severity="act" if self.many else "note",
            what=f"step {record.step}",
            value=f"{len(parts)} of {parts[0]['of']} micro-batches left out",
            why=f"not finite ({'; '.join(places[:NAMED])}{more}); {self.often}",
            instead="The step was made of the others: nothing of these reached the weights",
            evidence={"in_row": 0, "in_window": len(self.bad), "stop": False, **record.nonfinite},
            since=record.step,
        )

    def whole(self, record: Step) -> Finding:
        """Say what is not finite, and how often."""
        options = self.options
        acts = self.row in (options.in_row, options.stop_row) or self.row > options.stop_row
        often = f", {self.row} in a row" if self.row > 1 else ""
        return Finding(
            id="nonfinite",
            severity="act" if acts or self.many else "note",
            what=f"step {record.step}",
            value=", ".join(record.nonfinite),
            why=f"not finite{often} ({self.often})",
            instead="The update was left out: weights and optimiser state are untouched",
            evidence={
                "in_row": self.row,
                "in_window": len(self.bad),
                "stop": self.row >= options.stop_row,
                **record.nonfinite,
            },
            since=record.step - self.row + 1,
        )

    @property
    def many(self) -> bool:
        """Whether more was left out than is only noted."""
        return len(self.bad) > self.options.in_window

    @property
    def often(self) -> str:
        """Tell how many were left out lately."""
        return f"{len(self.bad)} in the last {WINDOW} steps"

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {"row": self.row, "bad": self.bad}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the counts back."""
        self.row, self.bad = int(state["row"]), list(state["bad"])
