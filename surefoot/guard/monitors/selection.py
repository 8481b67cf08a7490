"""Sees a choice of blocks that says nothing, or one that reads more than it may.

Medians over 50 probes, the first 500 steps left out: more than 5% of positions with the full number
of tokens is noted, more than 10% warns (near half of them is the mark of a current block that is
read beyond its token); the chosen blocks' mean score below 1.05 of all candidates', or more than
half of the last places won by a tie, warns: the scores choose nothing (seed 004).
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.probed import QUIET, WARMUP, Limit, Probed, Wrong
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """What a choice of blocks must show."""

    kind: str = "selection"
    at_max_note: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of positions at the full number of tokens that is noted"""
    at_max_warn: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The same, to warn"""
    lift: Annotated[float, Field(ge=1)] = 1.05
    """What chosen blocks must score, for 1 of a candidate's mean"""
    tie_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of choices that a tie may decide"""
    warmup: Annotated[int, Field(ge=0)] = WARMUP
    """Steps that are not looked at, at the start and after an event"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy probes that close an episode"""


class Monitor:
    """Compares what a selection tells with limits."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.probed = Probed(options.warmup, options.quiet)
        full = "positions that read all they may"
        self.limits = (
            Limit("sel_at_max_share", "above", options.at_max_warn, full),
            Limit("sel_at_max_share", "above", options.at_max_note, full, "note"),
            Limit("sel_lift", "below", options.lift, "the scores choose nothing"),
            Limit("sel_tie_share", "above", options.tie_share, "ties decide"),
        )

    def observe(self, record: Record) -> list[Finding]:
        """Judge each probe."""
        if not isinstance(record, Step):
            self.probed.see(record)
            return []
        if record.selection is None or record.skipped:
            return []
        found = self.probed.judge(record, record.selection, self.limits)
        if not found:
            return []
        graver = {one.name for one in found if one.limit.severity == "warn"}
        told = [one for one in found if one.limit.severity == "warn" or one.name not in graver]
        return [self.probed.finding("selection", record, told, advice(told))]

    def state(self) -> dict[str, Any]:
        """Give the medians' values and what was told."""
        return self.probed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.probed.restore(state)


def advice(told: list[Wrong]) -> str:
    """Say where to look."""
    if told[0].name == "sel_at_max_share":
        return "Run  surefoot audit RUN : a block that is read beyond its token is a leak"
    return "Lower optim.matrix.lr, or look at the branch that makes the scores: it has learnt none"
