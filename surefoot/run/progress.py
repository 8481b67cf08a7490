"""How far a run has come: what a checkpoint keeps beside tensors, and gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from surefoot.records import MEASURED, Eval, Event, Record, Remedy, Step, parse, row


@dataclass(slots=True)
class Progress:
    """The deterministic state of a run after a step."""

    step: int = 0
    generation: int = 0
    tokens: int = 0
    best_step: int = 0
    best_ce: float | None = None
    last: Step | None = None
    last_eval: Eval | None = None
    bends: list[Event | Remedy] = field(default_factory=list[Event | Remedy])
    lineage: list[list[int]] = field(default_factory=list[list[int]])  # [to, from, from_step]

    def follow(self, record: Record) -> None:
        """Take in a record."""
        if isinstance(record, Step):
            self.step, self.tokens, self.last = record.step, record.tokens, record
        elif isinstance(record, Eval):
            self.last_eval = record
            if record.best:
                self.best_step, self.best_ce = record.step, record.val_ce
        elif isinstance(record, Remedy) or (isinstance(record, Event) and record.planned):
            self.bends.append(record)

    def state(self) -> dict[str, Any]:
        """Give it as JSON, without what was measured."""
        return {
            "tokens": self.tokens,
            "best": {"step": self.best_step, "ce": self.best_ce},
            "metrics": bare(self.last),
            "eval": bare(self.last_eval),
            "events": [bare(bend) for bend in self.bends],
            "lineage": self.lineage,
        }

    @classmethod
    def restored(cls, step: int, generation: int, state: Mapping[str, Any]) -> "Progress":
        """Take it back from a checkpoint."""
        last, evaluated = parse(state["metrics"]), parse(state["eval"])
        bends = [parse(raw) for raw in state["events"]]
        return cls(
            step=step,
            generation=generation,
            tokens=state["tokens"],
            best_step=state["best"]["step"],
            best_ce=state["best"]["ce"],
            last=last if isinstance(last, Step) else None,
            last_eval=evaluated if isinstance(evaluated, Eval) else None,
            bends=[bend for bend in bends if isinstance(bend, Event | Remedy)],
            lineage=[list(branch) for branch in state["lineage"]],
        )

    def branch(self, generation: int) -> None:
        """Leave the steps after this one to an abandoned generation."""
        self.lineage.append([generation, self.generation, self.step])
        self.generation = generation


def bare(record: Record | None) -> dict[str, Any]:
    """Give a record's row without what the clock and the machine put in."""
    if record is None:
        return {}
    return {key: value for key, value in row(record).items() if key not in MEASURED}
