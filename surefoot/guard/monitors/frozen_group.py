"""Sees a group of parameters that no longer moves although its rate says it should."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """What counts as frozen."""

    kind: str = "frozen_group"
    ratio: Annotated[float, Field(gt=0)] = 1e-9
    """Size of an update against the weights"""
    probes: Annotated[int, Field(ge=1)] = 5
    """Probes in a row"""


class Monitor:
    """Counts probes in a row for each role."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.rows: dict[str, int] = {}

    def observe(self, record: Record) -> list[Finding]:
        """Compare each role's update with its weights."""
        if not isinstance(record, Step) or record.update_ratio is None or record.skipped:
            return []
        found: list[Finding] = []
        for role, ratio in record.update_ratio.items():
            still = ratio < self.options.ratio and record.lr.get(role, 0.0) > 0
            self.rows[role] = self.rows.get(role, 0) + 1 if still else 0
            if self.rows[role] == self.options.probes:
                found.append(self.finding(record, role, ratio))
        return found

    def finding(self, record: Step, role: str, ratio: float) -> Finding:
        """Say which group stands still."""
        return Finding(
            id="frozen_group",
            severity="act",
            what=f"updates of {role} at step {record.step}",
            value=f"{ratio:.1e} of the weights",
            why=f"its rate is {record.lr[role]:.3g}, and for {self.options.probes} probes nothing "
            "moves: the group is cut off from the loss",
            instead="Look for what detaches it; then resume with --accept stopped",
            evidence={"role": role, "ratio": ratio, "lr": record.lr[role]},
            since=record.step,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {"rows": self.rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.rows = dict(state["rows"])
