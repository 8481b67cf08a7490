"""Sees a loss that is largely something else than the cross-entropy.

(loss - ce)/loss > .15 over 20 steps is noted once: such a loss compares with no other run's, and
best, patience and `compare` go by ce (seed 003's baseline: .30). A loss below ce by more than .001,
where nothing in the recipe explains it, warns: the columns don't add up.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

WINDOW = 20  # steps
ADDING = frozenset({"next_token", "multi_token"})  # heads whose loss is ce and what they add


class Options(Choice):
    """How much of the loss may be something else."""

    kind: str = "aux_inflation"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the loss that is not ce"""
    tolerance: Annotated[float, Field(ge=0)] = 1e-3
    """Nats by which a loss may lie below ce"""


class Monitor:
    """Compares two columns."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.adds = additive(facts)
        self.high = 0  # successive steps
        self.below = 0
        self.inflated = self.odd = False  # told

    def observe(self, record: Record) -> list[Finding]:
        """Say each of the two things once."""
        if not isinstance(record, Step):
            return []
        loss, ce = record.loss, record.ce
        if not (math.isfinite(loss) and math.isfinite(ce)) or loss <= 0:
            return []
        share = (loss - ce) / loss
        self.high = self.high + 1 if share > self.options.share else 0
        self.below = self.below + 1 if loss < ce - self.options.tolerance else 0
        found: list[Finding] = []
        if self.high >= WINDOW and not self.inflated:
            self.inflated = True
            found.append(self.inflation(record, share))
        if self.adds and self.below >= WINDOW and not self.odd:
            self.odd = True
            found.append(self.mismatch(record))
        return found

    def inflation(self, record: Step, share: float) -> Finding:
        """Say how much of the loss is not ce."""
        return Finding(
            id="aux_inflation",
            severity="note",
            what=f"step {record.step}: loss",
            value=f"{record.loss:.4g} nats",
            why=f"{100 * share:.0f}% of it is not the next token's cross-entropy "
            f"(ce {record.ce:.4g}): it compares with no loss of another recipe (003: baseline-v1)",
            instead="Compare ce: the best checkpoint and `surefoot compare` go by it",
            evidence={"share": share, "limit": self.options.share, "window": WINDOW},
            since=record.step - WINDOW + 1,
        )

    def mismatch(self, record: Step) -> Finding:
        """Say that a loss lies below what it is made of."""
        return Finding(
            id="aux_inflation",
            severity="warn",
            what=f"step {record.step}: loss",
            value=f"{record.loss:.4g} nats",
            why=f"it lies below ce {record.ce:.4g}, which it contains: the columns don't add up",
            instead="Look at which column is the cross-entropy: surefoot diagnose --map ce=COLUMN",
            evidence={"loss": record.loss, "ce": record.ce, "tolerance": self.options.tolerance},
            since=record.step - WINDOW + 1,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts, and what was told."""
        return {
            "high": self.high,
            "below": self.below,
            "inflated": self.inflated,
            "odd": self.odd,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.high, self.below = int(state["high"]), int(state["below"])
        self.inflated, self.odd = bool(state["inflated"]), bool(state["odd"])


def additive(facts: Mapping[str, Any]) -> bool:
    """Say whether the loss is ce and more; smoothing, chunks and exits mix it otherwise."""
    recipe = facts.get("recipe")
    if recipe is None:
        return True
    exits = getattr(getattr(recipe.model, "loop", None), "exit", "none")
    plain = recipe.model.head.kind in ADDING and exits == "none"
    return plain and not phases.smoothing(facts)[0]
