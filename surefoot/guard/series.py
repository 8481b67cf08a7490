"""One run as a log tells it: its rows, where it was resumed from, what is said of the whole."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from surefoot.guard.rows import Row
from surefoot.records import Finding, Severity

PEEK = 64  # rows with a loss, by which a log is judged coarse or fine
COARSE = 10  # median steps between rows: above it statistics over steps mean nothing
KEEP = 50_000  # rows that are held; of more every second one goes
BACKS = 20  # times that a run may go back; a log with more is of several runs at once
NEAR = 1e-6
VERSIONED = re.compile(r"(.{1,200}?)[-_.]?v(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person says of a log that it doesn't say itself."""

    vocab: int | None = None
    label_smoothing: float | None = None
    batch: int | None = None
    seq_len: int | None = None
    params: float | None = None
    resumed_from: "Before | None" = None


@dataclass(frozen=True, slots=True)
class Before:
    """Where a run stood when another went on from it."""

    lr: float | None = None
    loss: float | None = None
    step: int | None = None
    stable: float | None = None  # its last loss at the peak learning rate
    lowest_grad_norm: float | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """A row with which a run went on, and where it stood before."""

    row: Row
    before: Before


@dataclass(slots=True)
class Series:
    """The rows of one run, in the order of their steps."""

    title: str
    rows: list[Row] = field(default_factory=list[Row])
    facts: dict[str, float] = field(default_factory=dict[str, float])
    resumes: list[Resume] = field(default_factory=list[Resume])
    called: Mapping[str, str] = field(default_factory=dict[str, str])  # field -> the log's name
    first_step: int | None = None
    last_step: int = 0
    count: int = 0
    backs: int = 0  # times that a step went back

    def add(self, row: Row) -> Resume | None:
        """Take the next row; one whose step goes back throws away what it does again."""
        back = bool(self.rows) and row.step < self.last_step
        resume = None
        if back:
            while self.rows and self.rows[-1].step >= row.step:
                self.rows.pop()
            self.backs += 1
            if self.backs <= BACKS:
                resume = Resume(row, self.stands())
                self.resumes.append(resume)
        if self.first_step is None:
            self.first_step = row.step
        self.rows.append(row)
        self.last_step, self.count = row.step, self.count + 1
        if len(self.rows) > KEEP:
            self.rows = self.rows[::2]
        return resume

    @property
    def name(self) -> str:
        """Give the first word of the title: engram-v2."""
        return self.title.split()[0] if self.title.split() else ""

    @property
    def losses(self) -> list[Row]:
        """Give the rows that tell a loss."""
        return [row for row in self.rows if "loss" in row.values]

    @property
    def peak_lr(self) -> float | None:
        """Give the highest learning rate."""
        return max((lr for row in self.rows if (lr := lr_of(row)) is not None), default=None)

    @property
    def begins_late(self) -> bool:
        """Say whether the first row is no beginning: it must have gone on from something."""
        steps = [row.step for row in self.rows]
        gaps = [after - before for before, after in pairwise(steps)]
        return bool(gaps) and steps[0] > 2 * max(gaps)

    @property
    def steps(self) -> int:
        """Count the steps of this session."""
        if "steps" in self.facts:
            return int(self.facts["steps"])
        begun = self.first_step or 0
        known = [one.before.step for one in self.resumes if one.before.step is not None]
        return self.last_step - (known[0] if known else begun if self.begins_late else 0)

    def last_at_peak(self) -> Row | None:
        """Give the last row of the stable phase, where there is one."""
        peak = self.peak_lr
        if not peak:
            return None
        found = [row for row in self.losses if (lr_of(row) or 0.0) >= peak * (1 - NEAR)]
        return found[-1] if len(found) > 1 else None

    def stands(self) -> Before:
        """Give where the run stood at its end."""
        known = [row for row in self.losses if lr_of(row) is not None] or self.losses
        last = known[-1] if known else None
        norms = [row.values["grad_norm"] for row in self.rows if "grad_norm" in row.values]
        stable = self.last_at_peak()
        return Before(
            lr=lr_of(last) if last else None,
            loss=last.values["loss"] if last else None,
            step=last.step if last else None,
            stable=stable.values["loss"] if stable else None,
            lowest_grad_norm=min(norms, default=None),
            origin=self.name or self.title,
        )


def lr_of(row: Row) -> float | None:
    """Give a row's learning rate; of several roles the matrix's, or the first."""
    values = row.values
    if "lr" in values:
        return values["lr"]
    if "lr/matrix" in values:
        return values["lr/matrix"]
    return next((value for name, value in values.items() if name.startswith("lr/")), None)


def spacing(rows: Sequence[Row]) -> float:
    """Give the median steps between rows."""
    steps = [row.step for row in rows]
    gaps = [after - before for before, after in pairwise(steps) if after > before]
    return statistics.median(gaps) if gaps else 1.0


def follows(later: Series, earlier: Series) -> bool:
    """Say whether a run went on from another: engram-v2 from engram-v1, at its last step."""
    ours, theirs = version(later.name), version(earlier.name)
    if ours is None or theirs is None or ours[0] != theirs[0] or ours[1] <= theirs[1]:
        return False
    first = later.first_step or 0
    return later.begins_late and first <= earlier.last_step + 100


def version(name: str) -> tuple[str, int] | None:
    """Part a name from its number: engram-v2 is engram and 2."""
    found = VERSIONED.fullmatch(name)
    return (found[1].lower(), int(found[2])) if found else None


def finding(
    severity: Severity, name: str, row: Row | int, told: Sequence[str], **evidence: object
) -> Finding:
    """Make a finding of the table rules; `told` is what, value, why and instead."""
    what, value, why, instead = told
    step = row if isinstance(row, int) else row.step
    return Finding(
        id=name,
        severity=severity,
        what=what,
        value=value,
        why=why,
        instead=instead,
        step=step,
        since=step,
        evidence=evidence,
        source="diagnose",
    )
