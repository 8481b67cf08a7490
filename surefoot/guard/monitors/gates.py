"""Sees gates that have stopped choosing between their branches.

On the shares s_b = g_b / sum g of a mixer's branches, medians over 50 probes, the first 500 steps
left out: mean entropy <= .5 nats (ln 3 = 1.099 at most), mean largest share >= .9, more than 5% of
rows on one branch alone, a branch below 5%, or all gates below .05, which shares can't show: a
warning (seed 004, whose rules were made for distributions and hold for shares).
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.probed import QUIET, WARMUP, Limit, Probed, Wrong
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

OPEN = "gate_open."
WIDEST = "gate_open_most"  # of all branches


class Options(Choice):
    """What gates must keep."""

    kind: str = "gates"
    entropy_nats: Annotated[float, Field(ge=0)] = 0.5
    """Entropy of the shares that warns, or less"""
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Mean of the largest share that warns, or more"""
    collapse_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of rows with all but everything on one branch"""
    branch_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share that a branch must have"""
    gate_open: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """What the widest gate must reach"""
    warmup: Annotated[int, Field(ge=0)] = WARMUP
    """Steps that are not looked at, at the start and after an event"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy probes that close an episode"""


class Monitor:
    """Compares what gates tell with limits."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.probed = Probed(options.warmup, options.quiet)
        self.limits = (
            Limit(
                "gate_entropy_nats",
                "below",
                options.entropy_nats,
                "the same branch everywhere",
                reached=True,
            ),
            Limit("gate_max_share", "above", options.max_share, "one branch has all", reached=True),
            Limit("gate_collapse_share", "above", options.collapse_share, "rows on one branch"),
            Limit("branch_share.", "below", options.branch_share, "a branch is not read"),
            Limit(WIDEST, "below", options.gate_open, "all gates are shut, the mixer is off"),
        )

    def observe(self, record: Record) -> list[Finding]:
        """Judge each probe."""
        if not isinstance(record, Step):
            self.probed.see(record)
            return []
        if record.gates is None or record.skipped:
            return []
        told = dict(record.gates)
        if widths := [value for name, value in told.items() if name.startswith(OPEN)]:
            told[WIDEST] = max(widths)
        found = self.probed.judge(record, told, self.limits)
        return [self.probed.finding("gates", record, found, advice(found))] if found else []

    def state(self) -> dict[str, Any]:
        """Give the medians' values and what was told."""
        return self.probed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.probed.restore(state)


def advice(found: list[Wrong]) -> str:
    """Say what opens a branch."""
    shut = next((one.name for one in found if one.name.startswith("branch_share.")), "")
    if shut:
        return f"Raise the bias of the {shut.rpartition('.')[2]} gate, or lower optim.matrix.lr"
    return "Lower optim.matrix.lr, or start the gates' biases wider open"
