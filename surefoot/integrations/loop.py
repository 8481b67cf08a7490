"""The guard in anybody's training loop: numbers go in, findings and advice come out."""

import math
import numbers
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from surefoot import kinds
from surefoot.errors import Problem, UsageError, nearest
from surefoot.guard.case import Case, Kept
from surefoot.guard.monitor import Watch
from surefoot.guard.playbook import answer
from surefoot.integrations.folder import Folder
from surefoot.recipe import schema
from surefoot.records import End, Eval, Event, Finding, Header, Record, Remedy, Step

OWN = {"step", "generation", "t", "nonfinite", "skipped_micro", "transient"}  # not for others
NUMBERS = frozenset(one.name for one in fields(Step)) - OWN
QUIET = 200  # steps without an act finding, after which a checkpoint may be gone back to


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says of one step; everything but the findings is advice."""

    findings: list[Finding] = field(default_factory=list[Finding])
    stop: bool = False
    reason: str = ""  # of the stop
    skip: tuple[int, int] | None = None  # steps whose data to leave out, the second not included
    rewind_to: int | None = None  # a step that was told to be saved; 0 is the beginning
    lr_scale: float | None = None

    def __bool__(self) -> bool:
        return bool(self.findings)


class Guard:
    """Watches a training loop that isn't surefoot's; the loop stays its owner's."""

    def __init__(
        self,
        run: str | Path | None = None,
        monitors: str | Iterable[str] = "all",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        steps: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.names = named(monitors)
        self.options, self.facts, self.steps = dict(options or {}), dict(facts or {}), steps
        for name in self.options:
            known(name)
        self.remedies: list[Remedy] = []  # that were advised
        self.acts: list[Finding] = []
        self.kept: list[Kept] = []
        self.folder: Folder | None = None
        self.begin(generation=0)
        if run is not None:
            self.folder = Folder(Path(run), steps)
            for record in self.folder.past():
                self.take(record)
            self.folder.open(Header(step=self.step, generation=self.generation))

    def begin(self, generation: int, before: int = 0) -> None:
        """Start with fresh monitors; saves from before a step still count, and what was done."""
        self.watch = Watch(self.options, self.facts)
        kept = {name: one for name, one in self.watch.monitors.items() if name in self.names}
        self.watch.monitors = kept
        self.generation, self.step = generation, before - 1
        self.kept = [one for one in self.kept if one.step < before]

    def observe(self, *, step: int, loss: float, ce: float | None = None, **told: Any) -> Verdict:
        """Show a step to the monitors: loss, lr (a number, or one a role), grad_norm and so on."""
        record = step_of(step, loss, ce, told)
        if record.step <= self.step:
            self.again(record.step)
        found = self.write([replace(record, generation=self.generation)])
        return self.verdict(found)

    def evaluated(self, *, step: int, val_ce: float, best: bool = False) -> Verdict:
        """Show a validation to the monitors."""
        record = Eval(
            step=step,
            generation=self.generation,
            val_ce=number("val_ce", val_ce),
            val_bpb=math.nan,
            val_tokens=0,
            best=best,
        )
        return self.verdict(self.write([record]))

    def event(self, name: str, *, step: int, **args: Any) -> None:
        """Tell of something planned, so that it is no surprise: window_raised, lr_restart."""
        event = Event(name=name, step=step, generation=self.generation, args=args, planned=True)
        self.write([event])

    def saved(self, step: int) -> None:
        """Tell that the state after a step lies on disk: rewind_to names such steps alone."""
        self.write([Event(name="saved", step=step, generation=self.generation)])

    def again(self, step: int) -> None:
        """Take the loop's going back for what it is: a new generation, with what led there."""
        self.begin(self.generation + 1, step)
        for record in self.folder.past(step) if self.folder is not None else ():
            if isinstance(record, Step | Eval | Event):
                self.watch.observe(record)
        args = {"exact": False}
        self.write([Event(name="resumed", step=step, generation=self.generation, args=args)])

    def write(self, records: Sequence[Record]) -> list[Finding]:
        """Journal records and what is found in them."""
        found: list[Finding] = []
        for record in records:
            if self.folder is not None:
                self.folder.write(record)
            told = self.take(record)
            for finding in told if self.folder is not None else ():
                self.folder.write(finding)  # pyright: ignore[reportOptionalMemberAccess]
            found += told
        return found

    def take(self, record: Record) -> list[Finding]:
        """Let a record have its effect, live or read from the journal."""
        if isinstance(record, Finding | Header | End | Remedy):
            return []
        if isinstance(record, Step):
            if record.generation > self.generation:
                self.begin(record.generation, record.step)
            self.step = max(self.step, record.step)
        if isinstance(record, Event) and record.name == "saved":
            self.kept.insert(0, Kept(record.generation, record.step, self.quiet(record.step)))
        found = self.watch.observe(record)
        self.acts += [one for one in found if one.severity == "act"]
        return found

    def quiet(self, step: int) -> bool:
        """Say whether nothing serious was found shortly before a step."""
        return not any(0 <= step - act.step < QUIET for act in self.acts)

    def verdict(self, found: list[Finding]) -> Verdict:
        """Ask the playbook what it would do, and tell that."""
        remedies: list[Remedy] = []
        for finding in found:
            remedies += answer(finding, self.case(finding))
        self.remedies += remedies
        told: dict[str, Any] = {"findings": found}
        for remedy in remedies:
            if remedy.name == "stop":
                told |= {"stop": True, "reason": str(remedy.args["reason"])}
            elif remedy.name == "rewind":
                told["rewind_to"] = int(remedy.args["to_step"])
            elif remedy.name == "skip":
                told["skip"] = tuple(remedy.args["positions"])
            elif remedy.name == "lr_scale":
                told["lr_scale"] = told.get("lr_scale", 1.0) * float(remedy.args["factor"])
            elif remedy.name == "save":
                told |= {"stop": True, "reason": f"{remedy.answers}: save, then start again"}
        return Verdict(**told)

    def case(self, finding: Finding) -> Case:
        """Gather what the playbook looks at; positions are steps here."""
        # without a length, this step counts as a tenth: nothing is thrown away as "just begun"
        train = schema.Train.model_construct(steps=self.steps or 10 * max(1, self.step))
        recipe = schema.Recipe.model_construct(guard=schema.Guard(), train=train)
        since = finding.since if finding.since is not None else finding.step
        return Case(
            recipe=recipe,
            step=self.step,
            generation=self.generation,
            remedies=self.remedies,
            acts=self.acts,
            kept=self.kept,
            first_position=max(0, since - 10),
            stop_position=finding.step + 50,
        )

    def close(self, state: str = "finished", reason: str = "") -> None:
        """End the run's folder: journal, status and lock."""
        if self.folder is not None:
            code = {"finished": 0, "stopped": 4}.get(state, 1)
            step = max(0, self.step)
            self.folder.close(
                End(step=step, generation=self.generation, state=state, exit=code, reason=reason)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close("finished" if kind is None else "failed", kind.__name__ if kind else "")


def named(monitors: str | Iterable[str]) -> set[str]:
    """Read which monitors are wanted."""
    every = set(kinds.names("monitors"))
    if monitors == "all":
        return every
    wanted = {monitors} if isinstance(monitors, str) else set(monitors)
    for name in wanted:
        known(name)
    return wanted


def known(name: str) -> None:
    """Refuse a monitor that isn't there."""
    if name not in kinds.names("monitors"):
        raise UsageError(kinds.unknown("monitors", name, "monitors"))


def step_of(step: int, loss: float, ce: float | None, told: Mapping[str, Any]) -> Step:
    """Make a step of what a loop tells; anything but plain numbers is a mistake."""
    for name in told:
        if name not in NUMBERS:
            best = nearest(name, NUMBERS)
            instead = f"Write {best[0]}=" if best else f"It takes {', '.join(sorted(NUMBERS))}"
            raise UsageError(Problem(name, "", "guard.observe takes no such number", instead))
    values = {name: plain(name, value) for name, value in told.items() if value is not None}
    if "lr" in values and not isinstance(values["lr"], Mapping):
        values["lr"] = {"matrix": values["lr"]}
    loss = number("loss", loss)
    bad = {"loss": 1} if not math.isfinite(loss) else {}
    norm = values.setdefault("grad_norm", math.nan)
    if math.isinf(norm):
        bad["grad_norm"] = 1
    if ce is not None:
        ce = number("ce", ce)
    values.setdefault("t", round(time.time(), 3))
    whole = int(number("step", step))
    return Step(step=whole, loss=loss, ce=loss if ce is None else ce, nonfinite=bad, **values)


def plain(name: str, value: Any) -> Any:
    """Check a value, also inside of a list or a table."""
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(name, inner) for inner in value]
    if isinstance(value, str | bool):
        return value
    return number(name, value)


def number(name: str, value: Any) -> float:
    """Take a plain number; a tensor would keep its graph, and wait for the device unseen."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    kind = type(value).__name__
    hint = f"Write {name}={name}.item()" if hasattr(value, "item") else f"Write {name}=0.0"
    raise UsageError(Problem(name, f"a {kind}", "monitors take plain numbers", hint))
