"""Sees a mixer that reads other positions than its formula says.

reads_pred is the formula's count, reads_act is counted where keys are gathered and never derived
from the formula (seed 004's was, and could not fail). Any difference at any step is a defect: stop.
"""

from collections.abc import Mapping
from typing import Any

from surefoot.guard.episode import QUIET, Episode
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """Nothing: two whole numbers are equal or not."""

    kind: str = "reads_mismatch"


class Monitor:
    """Compares two counts."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.episode = Episode(QUIET)

    def observe(self, record: Record) -> list[Finding]:
        """Compare those of each step that has both."""
        if not isinstance(record, Step):
            return []
        pred, act = record.reads_pred, record.reads_act
        if pred is None or act is None or not self.episode.opens(pred != act):
            return []
        return [
            Finding(
                id="reads_mismatch",
                severity="act",
                what=f"step {record.step}: positions that were read",
                value=f"{act}",
                why=f"the formula says {pred} ({act - pred:+d}): the mixer reads something else "
                "than it should, perhaps what comes later; that is a defect, and a rewind can't "
                "cure it",
                instead="Run  surefoot audit RUN , and report the recipe",
                evidence={"reads_pred": pred, "reads_act": act},
                since=record.step,
                episode=self.episode.number,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give what was told."""
        return {"episode": self.episode.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.episode.restore(state["episode"])
