"""Sees the same batch again and again, or a position that does not advance."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """How often the same batch is chance no more."""

    kind: str = "data_stuck"
    times: Annotated[int, Field(ge=2)] = 3
    """Steps in a row with the same batch"""


class Monitor:
    """Compares each batch with the one before."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.last = ""
        self.position = -1
        self.generation = 0
        self.row = 1

    def observe(self, record: Record) -> list[Finding]:
        """Count repeats; a rewind lawfully goes back."""
        if not isinstance(record, Step) or not record.batch_hash:
            return []
        lawful = record.generation != self.generation
        stuck = record.batch_hash == self.last or record.position == self.position
        self.row = self.row + 1 if stuck and not lawful else 1
        self.last, self.position = record.batch_hash, record.position
        self.generation = record.generation
        if self.row != self.options.times:
            return []
        return [
            Finding(
                id="data_stuck",
                severity="act",
                what=f"batch of step {record.step}",
                value=record.batch_hash,
                why=f"the same data came {self.row} times in a row",
                instead="Look at the corpus and its loader; then resume with --accept stopped",
                evidence={"position": record.position, "times": self.row},
                since=record.step - self.row + 1,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give what was seen last."""
        return {
            "last": self.last,
            "position": self.position,
            "generation": self.generation,
            "row": self.row,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.last, self.position = state["last"], state["position"]
        self.generation, self.row = state["generation"], state["row"]
