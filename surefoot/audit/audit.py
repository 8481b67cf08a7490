"""The causality audit: shows whether a model sees the future."""

import time as clock
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from surefoot import kinds
from surefoot.audit.case import Case
from surefoot.audit.foreign import Taken, taken
from surefoot.audit.guilty import Guilty, guilty
from surefoot.audit.measure import Measure
from surefoot.audit.pipeline import Pipeline
from surefoot.audit.reduced import reduced
from surefoot.audit.rounding import allowing
from surefoot.audit.stages import (
    BATCHES,
    Narrow,
    Stage,
    each,
    moments,
    of_foreign,
    of_narrow,
    of_recipe,
)
from surefoot.audit.subject import Raised, Subject, cuts_of, every_cut, of_model
from surefoot.audit.verdict import Verdict
from surefoot.data.dataset import Dataset
from surefoot.model.model import Model
from surefoot.recipe.schema import Recipe

LENGTH = 251  # a prime: no width, window or block hides behind it
SHORT = 127
QUICK = ("perturbation", "prefix")  # of a model in training
SWEPT_S = 2.0  # seconds for cuts at as many positions as that allows
Namer = Any  # (module's name) -> as a person would say it


@dataclass
class Audit:
    """An audit under way: what was measured, who was named, what was left out."""

    length: int
    budget: float = 0.0  # seconds; 0 = as many as it takes
    full: bool = False
    pipeline: Pipeline | None = None
    named: Any = str
    measures: list[Measure] = field(default_factory=list[Measure])
    found: dict[str, Guilty] = field(default_factory=dict[str, Guilty])
    skipped: list[str] = field(default_factory=list[str])
    defects: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])  # leaks that live in no module
    unfinished: bool = False
    isolated: bool = True  # as long as no row was seen to depend on another
    began: float = field(default_factory=clock.monotonic)

    @property
    def spent(self) -> bool:
        """Say whether the budget is used up."""
        return bool(self.budget) and clock.monotonic() - self.began > self.budget

    def stages(self, stages: Iterable[Stage]) -> None:
        """Go through all conditions."""
        for stage in stages:
            if self.spent:
                self.leave(stage.label, ", ".join(stage.probes))
            else:
                self.stage(stage)

    def leave(self, label: str, probes: str) -> None:
        """Write down what the budget did not allow."""
        self.unfinished = True
        self.skipped.append(f"{label}: {probes} (the budget of {self.budget:g} s is spent)")

    def stage(self, stage: Stage) -> None:
        """Run the probes of one condition, and name the guilty where one of them finds a leak."""
        try:
            subject = stage.subject()
        except Raised as error:
            self.defects.append(str(error))
            return
        many = stage.sweep and not stage.cuts
        cuts = self.swept(subject, stage.length) if many else stage.cuts_for(subject)
        case = Case(
            subject, stage.length, cuts, self.isolated, self.pipeline, stage.sweep, self.full
        )
        seen: list[Measure] = []
        for name in stage.probes:
            if self.spent:
                self.leave(stage.label, name)
                continue
            seen += self.probed(name, case, stage)
            if any(m.probe == "perturbation: rows" and m.leaks for m in seen):
                self.isolated = False
                case = replace(case, isolated=False)
        self.measures += seen
        self.accuse(case, [m for m in seen if m.leaks])

    def probed(self, name: str, case: Case, stage: Stage) -> list[Measure]:
        """Run one probe; a model that fails is no pass."""
        began, found = clock.monotonic(), list[Measure]()
        try:
            found += kinds.find("probes", name).probe(case)
        except Raised as error:
            if stage.lenient:
                self.skipped.append(f"{stage.label}: {error}")
            else:
                found.append(Measure(probe=name, failed=str(error)))
        seconds = round((clock.monotonic() - began) / max(1, len(found)), 3)
        self.defects += [m.failed for m in found if m.failed and m.failed not in self.defects]
        self.skipped += [f"{name}: {m.skipped}" for m in found if m.skipped]
        kept = {"condition": stage.label, "seconds": seconds, "dtype": case.subject.dtype}
        return [allowing(replace(m, **kept), case) for m in found if not m.skipped]

    def swept(self, subject: Subject, time: int) -> list[int]:
        """Give as many cuts as the time for them allows, after timing a few rows."""
        began = clock.process_time()
        subject.forward(subject.drawn(8, time))
        a_row = (clock.process_time() - began) / 8
        seconds = 10 * SWEPT_S if self.full else SWEPT_S
        most = int(seconds / a_row) if self.isolated else 8
        cuts = every_cut(time, max(8, most))
        if len(cuts) < time - 1:
            between = -(-time // len(cuts))
            self.skipped.append(f"fewer than {between} tokens ahead, at a single position only")
        return cuts

    def accuse(self, case: Case, leaking: list[Measure]) -> None:
        """Find the modules behind leaks; say where else they are if it is none."""
        model = [m for m in leaking if m.probe.split(":")[0] not in BATCHES]
        for m in leaking:
            if m.probe.split(":")[0] in BATCHES:
                self.elsewhere.append(told_of_batches(m))
        if not model:
            return
        cuts = case.cuts if len(case.cuts) <= 16 else guilty_cuts(model, case)
        try:
            known = guilty(case.subject, case.length, cuts, case.isolated)
        except Raised:  # the probe has said so
            known = []
        for one in known:
            old = self.found.get(one.module, one)
            worse = max(old, one, key=lambda g: g.ahead)
            self.found[one.module] = replace(worse, rows=old.rows or one.rows)
        if not known:
            far, where = max(m.ahead for m in model), "the code between modules"
            if all(m.probe == "perturbation: loss" for m in model):
                where = "the head's loss"
            ahead = f"reads at least {far} tokens ahead" if far else "sees what it should not"
            self.elsewhere.append(f"{where}: {ahead} ({model[0].probe})")

    def leaks(self) -> Iterator[str]:
        """Say a sentence for each that leaks; the code between modules only if nobody else."""
        for one in self.found.values():
            yield f"{self.named(one.module)}: {sight(one)}"
        inside = bool(self.found)
        for said in dict.fromkeys(self.elsewhere):
            if not (inside and said.startswith("the code between")):
                yield said

    def verdict(self, what: str, dtype: str = "float64") -> Verdict:
        """Sum up."""
        return Verdict(
            what=what,
            measures=self.measures,
            leaks=list(self.leaks()),
            skipped=list(dict.fromkeys(self.skipped)),
            defects=list(dict.fromkeys(self.defects)),
            unfinished=self.unfinished,
            dtype=dtype,
            length=self.length,
            seconds=round(clock.monotonic() - self.began, 2),
        )


def sight(one: Guilty) -> str:
    """Say what a module sees that it should not."""
    seen = (
        [f"reads at least {one.ahead} tokens ahead; first at t = {one.first}"] if one.ahead else []
    )
    seen += ["one row of the batch changes what it gives for another"] if one.rows else []
    return " · ".join(seen) or "what it gives for a beginning depends on the length of the row"


def told_of_batches(m: Measure) -> str:
    """Say what is wrong with batches or the loss."""
    if m.probe.startswith("labels"):
        return f"the batch builder: {m.said}"
    return f"batches or loss: tokens that nobody can predict were predicted ({m.said})"


def guilty_cuts(leaking: list[Measure], case: Case) -> list[int]:
    """Give few cuts out of many, near the place where the leak was seen."""
    first = next((m.first for m in leaking if m.first >= 0), 0)
    later = [cut for cut in case.cuts if cut > first][:8]
    return later or case.cuts[:8]


@contextmanager
def apart() -> Iterator[None]:
    """Leave the random numbers, and what is measured of gradients, as they were."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        yield


def audit_module(
    module: nn.Module,
    length: int = 0,
    budget: float = 0.0,
    forward: str = "",
    reads: str = "",
    full: bool = False,
) -> Verdict:
    """Audit any module from ids to logits, or from floats to floats; it is copied, not touched."""
    with apart():
        found: Taken = taken(module, forward, reads, length)
        classes = {name: type(one).__name__ for name, one in module.named_modules()}
        audit = Audit(found.length, budget, full, named=lambda n: f"{n} ({classes.get(n, '')})")
        audit.defects += found.defects
        audit.stages(of_foreign(found, full))
        audit.skipped.append("labels, canary: a model alone has no batches and no loss")
        audit.skipped.append("weights after training: audit a run, or the module again then")
    return audit.verdict(type(module).__name__, found.subject.dtype)


def audit_recipe(
    recipe: Recipe,
    length: int = LENGTH,
    budget: float = 0.0,
    full: bool = False,
    text: Dataset | None = None,
    pipeline: Pipeline | None = None,
) -> Verdict:
    """Audit a recipe: its model under each condition, its batches and its loss."""
    with apart():
        small = reduced(recipe)
        pipeline = replace(pipeline or Pipeline(small), text=text)
        narrow = Narrow(small, pipeline)
        audit = Audit(length, budget, full, pipeline, lambda name: named_of(name, recipe))
        audit.stages(of_narrow(recipe, narrow, length, full))
        longest = max([length, *(stage_time for stage_time in lengths(audit))])
        audit.skipped.append(f"rows of more than {longest} tokens")
        if text is None:
            audit.skipped.append("its own text (--full reads it); training audits again at step 20")
    return audit.verdict(recipe.name)


def lengths(audit: Audit) -> Iterator[int]:
    """Give the lengths that conditions name."""
    for measure in audit.measures:
        if "T = " in measure.condition:
            yield int(measure.condition.rsplit("T = ", 1)[1])


def audit_trained(
    what: str, model: Model, knobs: Mapping[str, Any], recipe: Recipe, **how: Any
) -> Verdict:
    """Audit a run's model with the weights of a checkpoint, and its recipe's batches and loss."""
    length, budget, full = how.get("length", LENGTH), how.get("budget", 0.0), how.get("full", False)
    with apart():
        small = reduced(recipe)
        audit = Audit(length, budget, full, Pipeline(small), lambda name: named_of(name, recipe))
        subject = of_model(model, knobs)
        last = recipe.train.steps
        probes = (*each(), "jacobian", "decode_gap")
        few = (1, length // 4, length - 1)
        stages = [
            Stage("as trained", lambda: subject, probes, length, cuts=few),
            Stage("narrow copy, shaken x1", lambda: of_recipe(small, 1.0, last), each(), length),
        ]
        if how.get("batches", True):
            made = Stage("batches and loss", lambda: of_recipe(small, None, last), BATCHES, length)
            stages.append(made)
        audit.stages(stages)
        audit.skipped.append("other conditions: surefoot audit RECIPE looks at them")
    return audit.verdict(what)


def quick(recipe: Recipe) -> tuple[str, ...]:
    """Audit a narrow copy, shaken, at the plan's first and last knobs: a sentence for each leak."""
    with apart():
        small = reduced(recipe)
        audit = Audit(SHORT, named=lambda name: named_of(name, recipe))
        audit.stages(
            Stage(f"shaken x1, {when}", partial(of_recipe, small, 1.0, step), each(), SHORT)
            for when, step in moments(small).items()
        )
    return tuple(audit.leaks()) + tuple(audit.defects)


def quick_trained(model: nn.Module, knobs: Mapping[str, Any], recipe: Recipe) -> Verdict:
    """Audit a copy of a model in training: neither it nor its run is touched."""
    import copy

    with apart():
        audit = Audit(SHORT, named=lambda name: named_of(name, recipe))
        subject = of_model(copy.deepcopy(model).cpu(), knobs)
        cuts = tuple(cuts_of(SHORT))
        audit.stages([Stage("as trained", lambda: subject, QUICK, SHORT, cuts=cuts)])
    return audit.verdict(recipe.name)


def named_of(module: str, recipe: Recipe) -> str:
    """Say a module's name as a person would: layer 1 · mixer (haar)."""
    parts = module.split(".")
    if parts[0] != "layers":
        return module
    if len(parts) < 3:
        return f"layer {parts[1]} · stream, or what joins its parts"
    letters = (recipe.model.pattern * recipe.model.layers)[: recipe.model.layers]
    kind = recipe.model.mixers[letters[int(parts[1])]].kind if parts[2] == "mixer" else parts[2]
    rest = ".".join(parts[3:])
    return f"layer {parts[1]} · {parts[2]} ({kind})" + (f" · {rest}" if rest else "")
