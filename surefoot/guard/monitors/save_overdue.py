"""Sees a run that has gone on without a save for too long.

No verified checkpoint since 2 save.every steps, or none of a milestone 100 steps after it: a
warning (seed 004's missing saves were found by hand). A save counts once it was read back, when its
line stands in the journal.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Event, Finding, Record, Remedy, Step

AMBIENT = True
SAVED = ("saved", "already_saved")


class Options(Choice):
    """How long a run may go without a save."""

    kind: str = "save_overdue"
    times: Annotated[float, Field(ge=1)] = 2.0
    """Times save.every"""
    every: Annotated[int, Field(ge=0)] = 0
    """Steps between saves; 0 = the recipe's save.every"""
    late: Annotated[int, Field(ge=1)] = 100
    """Steps after a milestone until its save must stand"""


class Monitor:
    """Counts steps since the last save."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        recipe = facts.get("recipe")
        self.options = options
        self.every = options.every or (recipe.save.every if recipe is not None else 0)
        self.milestones: list[int] = list(recipe.save.milestones) if recipe is not None else []
        self.saved = -1  # the last step that was saved; -1 = no step was seen yet
        self.step = 0
        self.there: list[int] = []  # milestones that were saved, told of, or lie before the start
        self.open = False
        self.told = 0

    def observe(self, record: Record) -> list[Finding]:
        """Follow saves, and judge each step."""
        if isinstance(record, Event) and record.name in SAVED:
            self.saved, self.open = record.step, False
            self.there += [record.step] if record.step in self.milestones else []
        if isinstance(record, Remedy) and record.name == "rewind":
            self.begin(int(record.args["to_step"]))
        if not isinstance(record, Step):
            return []
        if self.saved < 0 or record.step <= self.step:  # a process goes on from a save
            self.begin(record.step - 1)
        self.step = record.step
        return self.overdue(record) + self.missing(record)

    def begin(self, step: int) -> None:
        """Count from a save that the run goes on from."""
        self.saved, self.step, self.open = step, step, False
        self.there = [one for one in self.milestones if one <= step]

    def overdue(self, record: Step) -> list[Finding]:
        """Warn once of a save that does not come."""
        since = record.step - self.saved
        if not self.every or since <= self.options.times * self.every or self.open:
            return []
        self.open = True
        why = f"no save was finished and read back for {since} steps, and one is due each "
        return [self.finding(record, since, f"{why}{self.every}", self.saved)]

    def missing(self, record: Step) -> list[Finding]:
        """Warn of each milestone that has no save."""
        late = record.step - self.options.late
        gone = [one for one in self.milestones if one <= late and one not in self.there]
        self.there += gone
        return [
            self.finding(record, record.step - one, f"milestone {one} has no save", one)
            for one in gone
        ]

    def finding(self, record: Step, steps: int, why: str, since: int) -> Finding:
        """Say what is not there."""
        self.told += 1
        return Finding(
            id="save_overdue",
            severity="warn",
            what=f"step {record.step}: the last save",
            value=f"step {self.saved}" if self.saved else "none",
            why=f"{why}: a crash now loses {record.step - self.saved} steps",
            instead="Look at the disk (train.log tells of failed saves), and save now: "
            "surefoot stop RUN",
            evidence={"steps": steps, "every": self.every, "saved": self.saved},
            since=max(0, since),
            episode=self.told,
        )

    def state(self) -> dict[str, Any]:
        """Give what was saved, and what was told."""
        return {
            "saved": self.saved,
            "step": self.step,
            "there": [*self.there],
            "open": self.open,
            "told": self.told,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.saved, self.step = int(state["saved"]), int(state["step"])
        self.there, self.told = list(state["there"]), int(state["told"])
        self.open = bool(state["open"])
