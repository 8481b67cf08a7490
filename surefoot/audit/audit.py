"""The causality audit: shows whether a model sees the future."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from surefoot import kinds
from surefoot.audit.guilty import guilty
from surefoot.audit.measure import Measure
from surefoot.audit.reduced import reduced
from surefoot.audit.shake import shake
from surefoot.audit.subject import Subject, cuts_of, of_model
from surefoot.model.model import Model, build
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe

LENGTH = 251  # a prime: no width, window or block hides behind it
SHORT = 127
CONDITIONS = ("as initialised", "shaken x1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found."""

    what: str
    clean: bool
    measures: list[Measure]
    leaks: list[str]  # one sentence for each module that leaks
    skipped: list[str] = field(default_factory=list[str])
    dtype: str = "float64"
    length: int = LENGTH
    seconds: float = 0.0


def audit_recipe(recipe: Recipe, length: int = LENGTH) -> Verdict:
    """Audit a recipe's model as initialised and shaken, at the plan's first and last knobs."""
    begin = time.monotonic()
    measures: list[Measure] = []
    leaks: list[str] = []
    plan = Plan(recipe)
    last = recipe.train.steps
    steps = {"first knobs": 1} | ({"last knobs": last} if moves(plan, last) else {})
    for condition in CONDITIONS:
        for when, step in steps.items():
            subject = subject_of(recipe, condition, plan.at(step).values)
            label = condition if len(steps) == 1 else f"{condition}, {when}"
            found, named = examined(subject, recipe, label, length)
            measures += found
            leaks += [name for name in named if name not in leaks]
    clean = all(m.verdict(torch.float64) == "clean" for m in measures)
    return Verdict(
        what=recipe.name,
        clean=clean,
        measures=measures,
        leaks=leaks,
        skipped=["prefix, jacobian, decode gap, labels, canary: not part of this audit yet"],
        length=length,
        seconds=round(time.monotonic() - begin, 2),
    )


def quick(recipe: Recipe) -> tuple[str, ...]:
    """Audit a narrow copy, shaken, by perturbation alone: a sentence for each leak."""
    small = reduced(recipe)
    plan = Plan(small)
    subject = subject_of(small, "shaken x1", plan.at(small.train.steps).values)
    cuts = cuts_of(SHORT)
    measure = kinds.find("probes", "perturbation").probe(subject, SHORT, cuts)
    if measure.verdict(torch.float64) == "clean":
        return ()
    named = [named_of(name, small) for name in guilty(subject, SHORT, cuts)]
    return tuple(f"{name} reads later tokens" for name in named) or (
        "an output changes with later tokens",
    )


def examined(
    subject: Subject, recipe: Recipe, condition: str, length: int
) -> tuple[list[Measure], list[str]]:
    """Run every probe under one condition, and name the guilty where one of them finds a leak."""
    cuts = cuts_of(length)
    measures: list[Measure] = []
    for name in kinds.names("probes"):
        began = time.monotonic()
        measure = kinds.find("probes", name).probe(subject, length, cuts)
        seconds = round(time.monotonic() - began, 2)
        measures.append(replace(measure, condition=condition, seconds=seconds))
    if all(measure.verdict(subject.dtype) == "clean" for measure in measures):
        return measures, []
    far = max(measure.ahead for measure in measures)
    names = [named_of(name, recipe) for name in guilty(subject, length, cuts)]
    names = names or ["the code between modules"]
    return measures, [f"{name}: reads at least {far} tokens ahead" for name in names]


def subject_of(recipe: Recipe, condition: str, knobs: Any) -> Subject:
    """Build a recipe's model in fp64 under a condition."""
    model: Model = build(recipe.model, shape(recipe), recipe.train.seed)
    if condition == "shaken x1":
        shake(model, recipe.train.seed)
    return of_model(model, knobs, torch.float64)


def moves(plan: Plan, last: int) -> bool:
    """Say whether any knob of the model changes over the run."""
    first, final = plan.at(1).values, plan.at(last).values
    return any(first[name] != final[name] for name in first if name not in ("lr", "momentum"))


def named_of(module: str, recipe: Recipe) -> str:
    """Say a module's name as a person would: layer 1 · mixer (haar)."""
    parts = module.split(".")
    if parts[0] != "layers" or len(parts) < 3:
        return module
    letters: Sequence[str] = (recipe.model.pattern * recipe.model.layers)[: recipe.model.layers]
    kind = recipe.model.mixers[letters[int(parts[1])]].kind if parts[2] == "mixer" else parts[2]
    rest = ".".join(parts[3:])
    return f"layer {parts[1]} · {parts[2]} ({kind})" + (f" · {rest}" if rest else "")
