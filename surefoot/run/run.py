"""A Run: a folder, what is in it, and everything that the loop asks of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from surefoot.data.ahead import Ahead
from surefoot.data.dataset import Dataset
from surefoot.guard import playbook
from surefoot.guard.monitor import Watch
from surefoot.learn.learner import Learner
from surefoot.learn.oom import OutOfMemory, smaller
from surefoot.learn.ranks import Ranks
from surefoot.model.batch import Batch
from surefoot.plan.bends import micro_rows
from surefoot.plan.plan import Plan
from surefoot.recipe.schema import Recipe
from surefoot.records import End, Event, Finding, Record, Remedy, Step
from surefoot.run import auditing
from surefoot.run.casting import case_of, planned_events
from surefoot.run.judging import Judge
from surefoot.run.leading import Lead
from surefoot.run.memory import disk_free_gib, peak_rss_mib, reset_peak_rss, rss_mib
from surefoot.run.progress import Progress
from surefoot.run.saving import Saver
from surefoot.run.signals import Signals
from surefoot.run.telemetry import Telemetry
from surefoot.shelf.journal import Journal, waiting
from surefoot.shelf.lock import Lock

MIB = 2**20
SAVES = frozenset({"saved", "already_saved", "save_failed"})
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run's process ended."""

    state: str  # finished, stopped, failed
    exit: int
    reason: str
    step: int
    folder: Path


@dataclass(slots=True)
class Run:
    """One training run, open for writing."""

    folder: Path
    recipe: Recipe
    dataset: Dataset
    learner: Learner
    journal: Journal
    plan: Plan
    watch: Watch
    progress: Progress
    saver: Saver
    judge: Judge
    signals: Signals
    ahead: Ahead
    lock: Lock
    lead: Lead = field(default_factory=lambda: Lead(Ranks()))
    telemetry: Telemetry | None = None
    phase: str = "idle"  # data, step, eval, save, rewind: what the heartbeat tells
    stop_reason: str = ""
    stop_exit: int = 0
    failure: str = ""
    began: float = 0.0  # monotonic
    data_s: float = 0.0
    step_began: float = 0.0
    stall_s: float = 0.0
    audit: dict[str, Any] = field(default_factory=dict[str, Any])  # last verdicts, by when

    @property
    def events(self) -> list[Event | Remedy]:
        """Give what has bent the plan so far."""
        return self.progress.bends

    def remaining(self) -> Iterator[int]:
        """Give the steps that are still to be done."""
        reset_peak_rss()
        self.began = self.step_began = time.monotonic()
        while self.progress.step < self.recipe.train.steps:
            yield self.progress.step + 1

    def batch(self, step: int) -> Batch:
        """Give a step's batch, drawn ahead."""
        begin, self.phase = time.monotonic(), "data"
        batch = self.ahead.get(step)
        self.lead.announce(self, step)
        self.data_s, self.phase = time.monotonic() - begin, "step"
        self.learner.micro_rows = micro_rows(self.events, step, self.recipe.train.batch)
        return batch

    def probes(self, step: int) -> bool:
        """Say whether a step takes the measurements that cost."""
        return step % self.recipe.guard.probe_every == 0 or step == 1

    def write(self, report: Step) -> Step:
        """Add what only the run knows to a step's report, and journal it."""
        now = time.monotonic()
        seconds = now - self.step_began
        self.step_began = now
        seen = self.recipe.train.seq_len * self.recipe.train.batch * self.recipe.train.accumulate
        full = replace(
            report,
            step=self.progress.step + 1,
            generation=self.progress.generation,
            tokens=self.progress.tokens + seen,
            step_s=round(seconds, 6),
            data_s=round(self.data_s, 6),
            save_stall_s=round(self.stall_s, 6) if self.stall_s else None,
            tok_per_s=round(seen / seconds, 1),
            rss_mib=rss_mib(),
            disk_free_gib=disk_free_gib(self.folder) if self.probes(report.step) else None,
            **self.lead.answers(self, report),
        )
        self.stall_s = 0.0
        for event in planned_events(self.progress.last, full, self.plan):
            self.told(event)  # before the step that it holds for, as the watch sees it too
            self.watch.observe(event)
        return self.told(full)

    def told(self, record: R) -> R:
        """Journal a record and follow it."""
        stamped = self.journal.write(record)
        self.progress.follow(stamped)
        return stamped

    def overhear(self, record: Record) -> None:
        """Show the watch what the shelf writes into the journal by itself."""
        if isinstance(record, Event) and record.name in SAVES:
            self.watch.observe(record)

    def obey(self, finding: Finding) -> None:
        """Journal a finding, and apply the remedies that the playbook answers it with."""
        self.told(finding)
        if finding.severity != "act":
            return
        for remedy in playbook.answer(finding, case_of(self, finding)):
            self.told(remedy)
            self.apply(remedy)

    def apply(self, remedy: Remedy) -> None:
        """Let a remedy take effect; it is durable in the journal by now."""
        if remedy.name in ("stop", "save"):
            self.ask_to_stop(str(remedy.args["reason"]), 4 if remedy.name == "stop" else 75)
        if remedy.name == "rewind":
            self.rewind(remedy)
        if remedy.name in ("rewind", "skip"):
            self.ahead.clear()
        self.plan = Plan(self.recipe, self.events)
        self.watch.observe(remedy)

    def rewind(self, remedy: Remedy) -> None:
        """Take weights, optimiser state and monitors back to a checkpoint, as a new generation."""
        self.phase = "rewind"
        self.saver.settle(self)
        content = self.saver.content_of(remedy, self)
        self.learner.load(content.model, content.optim)
        self.lead.again(self, content)
        kept = Progress.restored(content.step, content.generation, content.state)
        self.progress = self.progress.rewound(remedy, kept)
        self.saver.shelf.lineage = self.progress.lineage
        self.saver.saved_step = content.step
        self.watch.restore(content.state["monitors"])
        begun = {when: told for when, told in self.audit.items() if when == "preflight"}
        self.audit = dict(content.state.get("audit", begun))

    def split(self, error: OutOfMemory) -> bool:
        """Go on with fewer rows at once, where the recipe allows it and it can be; else fail."""
        rows, step = smaller(self.learner.micro_rows), self.progress.step + 1
        splits = self.recipe.train.on_oom == "split" and self.lead.alone
        if not (splits and rows and error.whole):
            self.fail(f"{error}. {self.saver.newest(self)}")
            return False
        micros = self.recipe.train.batch * self.recipe.train.accumulate // rows
        args = {"rows": rows, "micro_batches": micros, "at_step": step}
        generation = self.progress.generation
        self.watch.observe(
            self.told(Event(name="oom_split", step=step, generation=generation, args=args))
        )
        return True

    def keep_if_due(self) -> None:
        """Validate and save where the step just done asks for it; a rewind leaves none to save."""
        begin, step = time.monotonic(), self.progress.step
        self.saver.hear(self)
        if step == self.saver.saved_step:
            return
        self.audit_if_due()
        last = step == self.recipe.train.steps
        evaluated = None
        if last or self.judge.due(step):
            self.phase = "eval"
            evaluated = self.judge.judge(self, full=last)
            self.told(evaluated)
            for finding in self.watch.observe(evaluated):
                self.obey(finding)
        if reason := self.saver.due(step, improved=bool(evaluated and evaluated.best)):
            self.phase = "save"
            self.saver.save(self, reason)
        spent = time.monotonic() - begin
        if spent > 1e-4:  # the next step's clock starts after saves and validations
            self.step_began += spent
            self.stall_s = self.saver.stalled()

    def audit_if_due(self) -> None:
        """Audit the model once it has trained a little; a leak stops the run."""
        if not auditing.due(self):
            return
        for told in auditing.audited(self):
            self.obey(told) if isinstance(told, Finding) else self.told(told)

    def journal_waits(self, error: OSError) -> None:
        """Say that a disk takes no more lines, while they can still be kept."""
        self.told(waiting(self.progress.step, self.progress.generation, error))

    def ask_to_stop(self, reason: str, code: int) -> None:
        """Leave after this step, for a reason that is written down."""
        if not self.stop_reason:
            self.stop_reason, self.stop_exit = reason, code

    def fail(self, reason: str) -> None:
        """Leave after this step, for a reason that a person has to mend."""
        self.failure = reason
        self.ask_to_stop(reason, 1)

    @property
    def stop_requested(self) -> bool:
        """Say whether a signal, a person or the guard asked for a stop."""
        if self.signals.caught is not None:
            self.ask_to_stop(f"signal {self.signals.caught.name}", self.signals.exit)
        elif (self.folder / "stop").exists():
            said = (self.folder / "stop").read_text(encoding="utf-8", errors="replace").strip()
            self.ask_to_stop(f"surefoot stop{': ' + said if said else ''}", 75)
        return bool(self.stop_reason)

    def saved_and_stopped(self) -> Outcome:
        """Save the state after the last step and leave."""
        self.phase = "save"
        if self.failure:
            return self.ended("failed", 1, self.failure)
        if self.progress.step == 0:
            return self.ended("stopped", self.stop_exit, f"{self.stop_reason}; nothing to save")
        if self.progress.step < self.recipe.train.steps or self.stop_exit == 4:
            self.saver.save(self, "signal")
            return self.ended("stopped", self.stop_exit, self.stop_reason)
        return self.finished()

    def finished(self) -> Outcome:
        """Point `final` at the last checkpoint; a run that ended in NaN does not finish."""
        evaluated, last = self.progress.last_eval, self.progress.last
        sound = (
            last is not None
            and not last.skipped
            and evaluated is not None
            and abs(evaluated.val_ce) < float("inf")
        )
        if not sound:
            reason = "the run ended with numbers that are not finite; `best` is the last good one"
            return self.ended("failed", 1, reason)
        self.saver.settle(self)
        if not self.failure:
            self.saver.finish()
        return self.ended("finished", 0, "")

    def ended(self, state: str, code: int, reason: str) -> Outcome:
        """Write the end down."""
        self.phase = "save"
        self.saver.settle(self)
        if self.failure:
            state, code, reason = "failed", 1, self.failure
        best = {"step": self.progress.best_step, "ce": self.progress.best_ce}
        self.told(
            End(
                step=self.progress.step,
                generation=self.progress.generation,
                state=state,
                exit=code,
                reason=reason,
                best=best if self.progress.best_ce is not None else {},
                peak_rss_mib=peak_rss_mib(),
                hours=round((time.monotonic() - self.began) / 3600, 4) if self.began else 0.0,
            )
        )
        return Outcome(state, code, reason, self.progress.step, self.folder)

    def close(self) -> None:
        """Let go of threads and files."""
        try:
            self.saver.settle(self)  # where an error ended the loop
        finally:
            self.ahead.close()
            self.journal.close()
            self.lock.release()
