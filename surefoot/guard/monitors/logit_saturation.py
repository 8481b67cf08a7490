"""Sees logits pressed against their cap: the share of positions whose largest is near it.

Median over 50 steps of the share of positions with max |logit| >= .933 cap (28 of 30, seed 000; its
"hit ~15" is the cap of another form and means nothing at cap 30). Without a cap: |logit| > 50.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field

from surefoot.guard.episode import Episode
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """When saturation is worth telling."""

    kind: str = "logit_saturation"
    over: Annotated[int, Field(ge=1)] = 50
    """Steps that the median is taken over"""
    warn: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of positions"""
    act_early: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share that asks for a remedy before `early` steps"""
    act: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share that asks for a remedy at any time"""
    early: Annotated[int, Field(ge=1)] = 1000
    """Steps in which head and scale are still being found"""
    rule: Literal["share", "seed"] = "share"
    """seed: any logit beyond 28 of a cap of 30, as 000 wrote it"""


class Monitor:
    """Follows the share of saturated positions."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        recipe = facts.get("recipe")
        cap = getattr(recipe.model.head, "logit_cap", 0.0) if recipe is not None else 0.0
        self.near_cap = 28 / 30 * (cap or 30.0)
        self.shares: deque[float] = deque(maxlen=options.over)
        self.episode = Episode()

    def observe(self, record: Record) -> list[Finding]:
        """Compare the median share with the limits."""
        if isinstance(record, Step) and self.options.rule == "seed":
            return self.seed(record)
        if not isinstance(record, Step) or record.logit_sat_share is None or record.skipped:
            return []
        self.shares.append(record.logit_sat_share)
        if len(self.shares) < self.options.over:
            return []
        share = median(self.shares)
        level = self.level(share, record.step)
        if not self.episode.rises(level):
            return []
        return [
            Finding(
                id="logit_saturation",
                severity="act" if level > 1 else "warn",
                what=f"step {record.step}",
                value=f"{share:.1%} of positions",
                why="their largest logit is at .933 of its cap or above (28 of 30 in 000), where "
                "the gradient fades",
                instead="Write a lower optim.head.lr: 1/416 for 1/384",
                evidence={"share": share, "logit_max": record.logit_max},
                since=max(1, record.step - self.options.over + 1),
                episode=self.episode.number,
            )
        ]

    def seed(self, record: Step) -> list[Finding]:
        """Warn of a single logit, as 000 did."""
        most = record.logit_max
        if most is None or not self.episode.opens(most > self.near_cap):
            return []
        return [
            Finding(
                id="logit_saturation",
                severity="warn",
                what=f"step {record.step}: largest logit",
                value=f"{most:.4g}",
                why=f"it is beyond {self.near_cap:.4g}, near its cap",
                instead="Write a lower optim.head.lr: 1/416 for 1/384",
                evidence={"logit_max": most, "limit": self.near_cap},
                since=record.step,
                episode=self.episode.number,
            )
        ]

    def level(self, share: float, step: int) -> int:
        """Tell 0 healthy, 1 warn, 2 act."""
        acts = share > self.options.act
        acts = acts or (share > self.options.act_early and step < self.options.early)
        return 2 if acts else int(share > self.options.warn)

    def state(self) -> dict[str, Any]:
        """Give the window."""
        return {"shares": list(self.shares), "episode": self.episode.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.shares = deque(state["shares"], maxlen=self.options.over)
        self.episode.restore(state["episode"])
