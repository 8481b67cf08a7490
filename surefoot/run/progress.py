"""How far a run has come: what a checkpoint keeps beside tensors, and gives back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from surefoot.errors import Problem, ShelfError
from surefoot.plan.bends import BENDING
from surefoot.records import MEASURED, Eval, Event, Finding, Record, Remedy, Step, parse, row


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
    remedies: list[Remedy] = field(default_factory=list[Remedy])  # all of the run, in order
    acts: list[Finding] = field(default_factory=list[Finding])  # act findings of the run
    lineage: list[list[int]] = field(default_factory=list[list[int]])  # [to, from, from_step]

    def follow(self, record: Record) -> None:
        """Take in a record."""
        if isinstance(record, Step):
            self.step, self.tokens, self.last = record.step, record.tokens, record
        elif isinstance(record, Eval):
            self.last_eval = record
            if record.best:
                self.best_step, self.best_ce = record.step, record.val_ce
        elif isinstance(record, Event | Remedy) and record.name in BENDING:
            self.bends.append(record)
        if isinstance(record, Remedy):
            self.remedies.append(record)
        elif isinstance(record, Finding) and record.severity == "act":
            self.acts.append(record)

    def state(self) -> dict[str, Any]:
        """Give it as JSON, without what was measured."""
        return {
            "tokens": self.tokens,
            "best": {"step": self.best_step, "ce": self.best_ce},
            "metrics": bare(self.last),
            "eval": bare(self.last_eval),
            "events": [bare(bend) for bend in self.bends],
            "remedies": [bare(remedy) for remedy in self.remedies],
            "acts": [bare(act) for act in self.acts],
            "lineage": self.lineage,
        }

    @classmethod
    def restored(cls, step: int, generation: int, state: Mapping[str, Any]) -> "Progress":
        """Take it back from a checkpoint, which a stranger may have made."""
        try:
            return cls.told(step, generation, state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it does not tell how far the run had come ({type(error).__name__}: {error})"
            instead = "Write another step of that run, or copy it again from where it was whole"
            raise ShelfError(Problem("state.json", "", why, instead)) from None

    @classmethod
    def told(cls, step: int, generation: int, state: Mapping[str, Any]) -> "Progress":
        """Read the state, whatever it raises."""
        if not all(isinstance(state[part], Mapping) for part in ("data", "monitors", "best")):
            raise TypeError("a part of it is no table")
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
            remedies=[r for raw in state["remedies"] if isinstance(r := parse(raw), Remedy)],
            acts=[a for raw in state["acts"] if isinstance(a := parse(raw), Finding)],
            lineage=[list(branch) for branch in state["lineage"]],
        )

    @property
    def skips(self) -> list[tuple[int, int]]:
        """Give the ranges of data positions that are left out."""
        found = [bend.args["positions"] for bend in self.bends if bend.name == "skip"]
        return sorted((int(first), int(stop)) for first, stop in found)

    @classmethod
    def replayed(cls, records: Iterable[Record], last: Remedy | None) -> "Progress":
        """Gather what was decided up to and with a remedy or the end, from the journal alone."""
        told = cls()
        for record in records:
            told.follow(record)
            if record == last:
                break
            if (branch := branch_of(record)) is not None:
                told.lineage.append(branch)
            if isinstance(record, Remedy) and record.name == "rewind":
                told.bends = [bend for bend in told.bends if bend.name != "drill"]
        return told

    def rewound(self, rewind: Remedy, kept: "Progress") -> "Progress":
        """Go back to a checkpoint, keeping what was decided since: drills alone are over."""
        back = replace(
            kept,
            bends=[bend for bend in self.bends if bend.name != "drill"],
            remedies=self.remedies,
            acts=self.acts,
            lineage=self.lineage,
        )
        back.generation = kept.generation
        back.branch(int(rewind.args["generation"]))
        return back

    def branch(self, generation: int) -> None:
        """Leave the steps after this one to an abandoned generation."""
        self.lineage.append([generation, self.generation, self.step])
        self.generation = generation


def branch_of(record: Record) -> list[int] | None:
    """Say which generation a record opened, and where: [generation, from, from_step]."""
    if isinstance(record, Event) and record.name == "branched":
        args = record.args
        return [record.generation, args["from_generation"], args["from_step"]]
    if isinstance(record, Remedy) and record.name == "rewind":
        args = record.args
        return [args["generation"], args["from_generation"], args["to_step"]]
    return None


def bare(record: Record | None) -> dict[str, Any]:
    """Give a record's row without what the clock and the machine put in."""
    if record is None:
        return {}
    return {key: value for key, value in row(record).items() if key not in MEASURED}
