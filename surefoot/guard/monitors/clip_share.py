"""Sees gradients that are clipped at nearly every step, so that the clip sets their size.

Share of clipped steps > .9 over 500, after the warm-up: a note (seed 001).
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases
from surefoot.guard.episode import QUIET, Episode
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

BLOCK = 50  # steps that are counted together


class Options(Choice):
    """How often gradients may be clipped."""

    kind: str = "clip_share"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of clipped steps that is noted"""
    window: Annotated[int, Field(ge=50, multiple_of=50)] = 500
    """Steps over which it is counted"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Counts clipped steps."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.warmup = phases.warmup(facts)
        recipe = facts.get("recipe")
        self.clip: float | None = recipe.train.clip if recipe is not None else None
        self.counts: list[int] = []  # clipped steps of the last blocks
        self.steps = self.clipped = 0  # of the block that fills
        self.high = False
        self.episode = Episode(options.quiet)

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step) or record.skipped or record.step <= self.warmup:
            return []
        self.steps += 1
        self.clipped += record.clipped
        if self.steps == BLOCK:
            self.counts.append(self.clipped)
            self.steps = self.clipped = 0
            del self.counts[: -self.options.window // BLOCK]
            full = len(self.counts) * BLOCK >= self.options.window
            self.high = full and sum(self.counts) > self.options.share * self.options.window
        return [self.finding(record)] if self.episode.opens(self.high) else []

    def finding(self, record: Step) -> Finding:
        """Say how often."""
        share = sum(self.counts) / self.options.window
        bound = f"train.clip = {self.clip:g}" if self.clip else "the clip"
        return Finding(
            id="clip_share",
            severity="note",
            what=f"step {record.step}: clipped steps",
            value=f"{100 * share:.0f}%",
            why=f"of the last {self.options.window} steps so many were cut to {bound}: their "
            "direction is kept, their size is the clip's, and a spike can't be told from the rest",
            instead=f"Write train.clip={2 * self.clip:g}" if self.clip else "Write a higher clip",
            evidence={
                "share": share,
                "limit": self.options.share,
                "window": self.options.window,
            },
            since=max(1, record.step - self.options.window + 1),
            episode=self.episode.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {
            "counts": [*self.counts],
            "steps": self.steps,
            "clipped": self.clipped,
            "high": self.high,
            "episode": self.episode.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.counts, self.high = list(state["counts"]), bool(state["high"])
        self.steps, self.clipped = int(state["steps"]), int(state["clipped"])
        self.episode.restore(state["episode"])
