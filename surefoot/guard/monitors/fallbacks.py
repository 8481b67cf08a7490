"""Sees a mixer that computes by another way than the one that was chosen for it.

More than .1% of the calls of 200 steps, or more of them in the last 500 steps than in the 500
before by 3 deviations, warns and gives their reasons. It never acts: the numbers are the same, and
come slower (seed 004). A step tells `calls`, all of them, and `<branch>.<reason>` for those that
fell back; where no `calls` are told each step counts as one.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.episode import QUIET, Episode
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

BLOCK = 50  # steps that are counted together
CALLS = "calls"
REASONS = 32  # that are kept apart
REST = "other reasons"


class Options(Choice):
    """How many calls may fall back."""

    kind: str = "fallbacks"
    share: Annotated[float, Field(ge=0, lt=1)] = 0.001
    """Share of the calls"""
    window: Annotated[int, Field(ge=50, multiple_of=50)] = 200
    """Steps over which it is counted"""
    rise: Annotated[int, Field(ge=100, multiple_of=100)] = 1000
    """Steps whose two halves are compared"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Counts calls and fallbacks."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.keep = max(options.window, options.rise) // BLOCK
        self.blocks: list[list[int]] = []  # calls and fallbacks of the last blocks
        self.reasons: dict[str, int] = {}  # so far
        self.steps = self.calls = self.fallen = 0  # of the block that fills
        self.why = ""  # what is wrong now
        self.share = 0.0
        self.episode = Episode(options.quiet)

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step) or record.fallbacks is None:
            return []
        self.count(record.fallbacks)
        if self.steps == BLOCK:
            self.blocks = [*self.blocks[1 - self.keep :], [self.calls, self.fallen]]
            self.steps = self.calls = self.fallen = 0
            self.why = self.judged()
        return [self.finding(record)] if self.episode.opens(bool(self.why)) else []

    def count(self, told: Mapping[str, int]) -> None:
        """Add a step's calls and what fell back."""
        self.steps += 1
        self.calls += int(told.get(CALLS, 1))
        for reason, count in told.items():
            if reason == CALLS or not count:
                continue
            self.fallen += int(count)
            name = reason if reason in self.reasons or len(self.reasons) < REASONS else REST
            self.reasons[name] = self.reasons.get(name, 0) + int(count)

    def judged(self) -> str:
        """Say what is wrong, or nothing."""
        near = self.options.window // BLOCK
        calls, fallen = (sum(block[i] for block in self.blocks[-near:]) for i in (0, 1))
        self.share = fallen / max(1, calls)
        if len(self.blocks) >= near and self.share > self.options.share:
            return (
                f"{100 * self.share:.3g}% of the calls of the last {self.options.window} steps "
                f"(limit {100 * self.options.share:g}%)"
            )
        half = self.options.rise // BLOCK // 2
        if len(self.blocks) < 2 * half:
            return ""
        before = sum(block[1] for block in self.blocks[-2 * half : -half])
        after = sum(block[1] for block in self.blocks[-half:])
        # counts of rare things differ by the root of their sum
        if after - before <= 3 * math.sqrt(after + before) or after < 10:
            return ""
        return f"{after} in the last {half * BLOCK} steps and {before} in the {half * BLOCK} before"

    def finding(self, record: Step) -> Finding:
        """Say how many, and why they fell back."""
        most = sorted(self.reasons.items(), key=lambda one: -one[1])[:3]
        return Finding(
            id="fallbacks",
            severity="warn",
            what=f"step {record.step}: calls that fell back",
            value=", ".join(f"{name} {count} times so far" for name, count in most),
            why=f"{self.why}: the numbers stay the same, and each such call is slower",
            instead="Look at the first message of each reason in train.log; impl_strict=true stops "
            "at the first",
            evidence={
                "share": self.share,
                "limit": self.options.share,
                "window": self.options.window,
                "reasons": dict(most),
            },
            since=max(1, record.step - self.options.window + 1),
            episode=self.episode.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {
            "blocks": [[*block] for block in self.blocks],
            "reasons": dict(self.reasons),
            "counts": [self.steps, self.calls, self.fallen],
            "why": self.why,
            "share": self.share,
            "episode": self.episode.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.blocks = [list(block) for block in state["blocks"]]
        self.reasons = dict(state["reasons"])
        self.steps, self.calls, self.fallen = (int(count) for count in state["counts"])
        self.why, self.share = str(state["why"]), float(state["share"])
        self.episode.restore(state["episode"])
