"""Sees a learning rate that the plan did not set."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """How far a rate may be from the plan's."""

    kind: str = "lr_unplanned"
    tolerance: Annotated[float, Field(gt=0)] = 1e-6
    """Relative difference"""


class Monitor:
    """Compares the rate that each optimiser used with the plan."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.planned = facts.get("planned")  # step -> role -> lr
        self.open = False

    def observe(self, record: Record) -> list[Finding]:
        """Ask for a stop at the first step whose rate is not the plan's."""
        if not isinstance(record, Step) or self.planned is None or record.skipped:
            return []
        planned: Mapping[str, float] = self.planned(record.step)
        wrong = {
            role: used
            for role, used in record.lr.items()
            if abs(used - planned[role]) > self.options.tolerance * max(abs(planned[role]), 1e-30)
        }
        if not wrong or self.open:
            self.open = bool(wrong)
            return []
        self.open = True
        role, used = next(iter(wrong.items()))
        return [
            Finding(
                id="lr_unplanned",
                severity="act",
                what=f"lr of {role} at step {record.step}",
                value=f"{used:.4g}",
                why=f"the plan says {planned[role]:.4g}, and something else set it (002's stuck "
                "raise looked like this)",
                instead="Resume with the plan's rate: surefoot train --resume RUN --accept stopped",
                evidence={"used": used, "planned": planned[role]},
                since=record.step,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give whether it is told already."""
        return {"open": self.open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.open = bool(state["open"])
