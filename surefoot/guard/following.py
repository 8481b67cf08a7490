"""Follows one run of a log row by row: few rows go to the table rules, many to the monitors."""

import math
from collections.abc import Mapping
from typing import Any

from surefoot.guard.monitor import Watch
from surefoot.guard.rows import Row
from surefoot.guard.series import BACKS, COARSE, PEEK, Asked, Series, lr_of, spacing
from surefoot.records import Eval, Event, Finding, Record, Step

FALLEN = 0.98  # of the peak rate: its decay has begun
RESTART = 1.5  # of the last rate in a decay: it begins again


class Following:
    """A run while it is read; what it holds stays bounded, however long the log is."""

    def __init__(self, title: str, asked: Asked) -> None:
        self.series = Series(title)
        self.asked = asked
        self.fine: bool | None = None  # not known before enough rows were seen
        self.held: list[Row] = []  # until then
        self.watch: Watch | None = None
        self.generation = 0
        self.found: list[Finding] = []
        self.silent: dict[str, str] = {}  # monitor -> what it needs and the log hasn't got
        self.peak_lr = self.last_lr = 0.0
        self.decaying = False

    def take(self, row: Row) -> None:
        """Take the next row."""
        back = self.series.add(row) is not None
        if self.jumbled():
            return
        if self.fine is None:
            self.held.append(row)
            if sum("loss" in one.values for one in self.held) >= PEEK:
                self.decide()
        elif self.fine:
            self.show(row, back)

    def jumbled(self) -> bool:
        """Say whether steps go back so often that no order is left to judge."""
        if self.series.backs > BACKS:
            self.silent["monitors"] = f"steps in order: they go back more than {BACKS} times"
            self.held = []
            return True
        return False

    def decide(self) -> None:
        """Judge by the rows so far whether statistics over steps mean something."""
        self.fine = spacing([row for row in self.held if "loss" in row.values]) <= COARSE
        last = -1
        for row in self.held if self.fine else ():
            self.show(row, row.step < last)
            last = row.step
        self.held = []

    def end(self) -> None:
        """Settle what is still open."""
        if self.fine is None:
            self.decide()

    def show(self, row: Row, back: bool) -> None:
        """Hand a row to the monitors as a live run would; a run that went back is a new one."""
        if back:
            self.again(row.step)
        self.see_lr(row)
        if "loss" in row.values or "ce" in row.values:
            self.observe(step_of(row, self.generation, self.asked))
        if "val_ce" in row.values:
            val_ce = row.values["val_ce"]
            self.observe(
                Eval(
                    step=row.step,
                    generation=self.generation,
                    val_ce=val_ce,
                    val_bpb=math.nan,
                    val_tokens=0,
                )
            )

    def see_lr(self, row: Row) -> None:
        """Tell the monitors of a decay and of its end: a live run's plan would."""
        lr = lr_of(row)
        if lr is None:
            return
        restart = self.decaying and lr > RESTART * self.last_lr
        decay = not self.decaying and lr < FALLEN * self.peak_lr
        self.peak_lr = lr if restart else max(lr, self.peak_lr)
        self.last_lr = lr
        if restart or decay:
            self.decaying = decay
            name = "decay_start" if decay else "lr_restart"
            event = Event(name=name, step=row.step, generation=self.generation, planned=True)
            self.observe(event)

    def record(self, record: Record) -> None:
        """Take a record of surefoot's own journal."""
        self.fine = True
        if isinstance(record, Step):
            back = self.series.add(Row(record.step, values_of(record))) is not None
            if self.jumbled():
                return
            if back:
                self.again(record.step)
        elif isinstance(record, Eval):
            self.series.add(Row(record.step, {"val_ce": record.val_ce}))
        self.observe(record)

    def again(self, step: int) -> None:
        """Begin with fresh monitors where a run did steps again."""
        self.generation += 1
        self.watch = None
        self.peak_lr, self.decaying = 0.0, False
        args = {"exact": False}
        self.observe(Event(name="resumed", step=step, generation=self.generation, args=args))

    def observe(self, record: Record) -> None:
        """Ask the monitors."""
        if self.watch is None:
            self.watch = Watch({}, facts_of(self.asked))
        for finding in self.watch.observe(record):
            if missing := finding.evidence.get("missing"):
                self.silent[finding.id] = str(missing)
            else:
                self.found.append(finding)


def facts_of(asked: Asked) -> dict[str, Any]:
    """Tell the monitors what the log doesn't."""
    told = {"vocab": asked.vocab, "label_smoothing": asked.label_smoothing}
    return {name: value for name, value in told.items() if value is not None}


def step_of(row: Row, generation: int, asked: Asked) -> Step:
    """Make the record that a live run would have written."""
    values = row.values
    loss = values.get("loss", values.get("ce", math.nan))
    roles = {name[3:]: value for name, value in values.items() if name.startswith("lr/")}
    lr = lr_of(row)
    tokens = row.step * (asked.batch or 0) * (asked.seq_len or 0)
    return Step(
        step=row.step,
        generation=generation,
        tokens=tokens,
        loss=loss,
        ce=values.get("ce", loss),
        entropy=values.get("entropy"),
        lr=roles or ({} if lr is None else {"matrix": lr}),
        grad_norm=values.get("grad_norm", math.nan),
        nonfinite={} if math.isfinite(loss) else {"loss": 1},
        tok_per_s=values.get("tok_per_s"),
        step_s=values.get("step_s"),
        gpu_mem_alloc_mib=values.get("mem_mib"),
    )


def values_of(step: Step) -> Mapping[str, float]:
    """Give the numbers of a step that rows have, too."""
    values = {"loss": step.loss, "ce": step.ce, "grad_norm": step.grad_norm}
    if step.entropy is not None:
        values["entropy"] = step.entropy
    return values | {f"lr/{role}": lr for role, lr in step.lr.items()}
