"""Which conditions a model is looked at under: as it begins, shaken, as it trains."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from surefoot import kinds
from surefoot.audit.foreign import Taken, trained_mode
from surefoot.audit.learning import Scored, first_values, learnt
from surefoot.audit.pipeline import Pipeline, opened
from surefoot.audit.shake import shake
from surefoot.audit.subject import DTYPES, Subject, cuts_of, of_model
from surefoot.model.batch import Batch
from surefoot.model.model import Model, build
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe

MODEL = ("jacobian", "decode_gap")
BATCHES = ("labels", "canary")
STEPS = 20
EDGES = 2  # blocks and windows whose edges are cut at, the smallest
BLOCKS = ("window", "block", "chunk", "taps", "kernel", "select_block", "compress_block")


@dataclass(frozen=True, slots=True)
class Stage:
    """One condition, the probes that run under it, and where the past ends."""

    label: str
    subject: Callable[[], Subject]
    probes: tuple[str, ...]
    length: int
    sweep: bool = False
    cuts: tuple[int, ...] = ()  # () = at both ends and around edges
    lenient: bool = False  # a model may fail here without being at fault

    def cuts_for(self, subject: Subject) -> list[int]:
        """Give where the past ends."""
        return list(self.cuts) or cuts_of(self.length, subject.edges)


def each() -> tuple[str, ...]:
    """Name the probes of every condition, plug-ins included, in their order."""
    return tuple(name for name in ordered() if kinds.find("probes", name).EACH)


def ordered() -> list[str]:
    """Name all probes, the surest and cheapest first."""
    return sorted(kinds.names("probes"), key=lambda name: kinds.find("probes", name).ORDER)


def long(time: int) -> int:
    """Give a much longer length that shares no factor with blocks."""
    return 2 * time + 7


def of_foreign(found: Taken, full: bool = False) -> Iterator[Stage]:
    """Look at a model that isn't ours."""
    time = found.length

    def made(scale: float | None, training: bool = False) -> Callable[[], Subject]:
        return lambda: foreign(found.subject, scale, training)

    shaken = made(1.0)
    yield Stage("shaken x1", shaken, (*each(), *MODEL), time)
    yield Stage("as initialised", made(None), each(), time)
    yield Stage("shaken x1, training mode", made(1.0, True), ("perturbation", "gradient"), time)
    yield Stage("shaken x1, every cut", shaken, ("perturbation",), time, sweep=True)
    yield Stage(
        "shaken x100", made(100.0), each() if full else ("perturbation",), time, lenient=True
    )
    far = long(time)
    yield Stage(
        f"shaken x1, T = {far}", shaken, ("perturbation",), far, cuts=ends(far), lenient=True
    )


def ends(time: int) -> tuple[int, ...]:
    """Give two cuts of a long row."""
    return (time // 2, time - 1)


def foreign(subject: Subject, scale: float | None, training: bool = False) -> Subject:
    """Copy a foreign model, and shake the copy."""
    module = copy.deepcopy(subject.module)
    if scale is not None:
        shake(module, 0, scale)
    found = subject.around(module)
    return trained_mode(found) if training else found


@dataclass(frozen=True)
class Narrow:
    """A recipe's narrow copy, under each condition."""

    recipe: Recipe
    pipeline: Pipeline

    def subject(self, scale: float | None, step: int, dtype: str = "float64") -> Subject:
        """Build it at the knobs of a step; shaken, unless the scale is None."""
        return of_recipe(self.recipe, scale, step, dtype)

    def learnt(self, step: int) -> Subject:
        """Train it for 20 steps through the real builder and loss."""
        subject = self.subject(None, step)
        knobs = opened(Plan(self.recipe).at(step).values)
        values = first_values(subject.module)
        batches = self.batches(subject.vocab)
        for done in learnt(Scored(subject.module, self.pipeline.loss), batches, knobs, values):
            values = done.values
        return with_values(subject, values, knobs)

    def batches(self, vocab: int) -> Iterator[Batch]:
        """Give its own text folded into few ids, or tokens of which each follows from the last."""
        if self.pipeline.text is not None:
            for step in range(1, STEPS + 1):
                yield few(self.pipeline.text.batch(step), vocab)
            return
        source = torch.Generator().manual_seed(12)
        for _ in range(STEPS):
            jumps = torch.randint(1, 4, (8, 65), generator=source)
            tokens = jumps.cumsum(dim=1) % vocab
            yield Batch(tokens[:, :-1], tokens[:, 1:], valid=8 * 64)


def few(batch: Batch, vocab: int) -> Batch:
    """Cut a batch down to some of its tokens, folded into few ids."""
    tokens, targets = batch.tokens[:4, :128] % vocab, batch.targets[:4, :128]
    targets = torch.where(targets >= 0, targets % vocab, targets)
    return Batch(tokens, targets, valid=int((targets >= 0).sum()))


def with_values(subject: Subject, values: Mapping[str, Tensor], knobs: Any) -> Subject:
    """Give the same model with other values, which are nobody's weights."""
    module = subject.module
    held = dict(values)
    called = {f"model.{name}": value for name, value in held.items()}
    scored = Scored(module, lambda model, batch, knobs: model.loss(batch, knobs, batch.valid)[0])

    def run(tokens: Tensor, trace: Any, doc: Tensor | None) -> Tensor:
        return functional_call(module, held, (tokens, knobs), {"doc": doc, "trace": trace})

    return replace(
        subject,
        run=run,
        decode=None,
        loss=lambda batch: functional_call(scored, called, (batch, knobs)),
    )


def of_recipe(recipe: Recipe, scale: float | None, step: int, dtype: str = "float64") -> Subject:
    """Build a recipe's model at the knobs of a step, shaken or as it begins."""
    model: Model = build(recipe.model, shape(recipe), recipe.train.seed).to(DTYPES[dtype])
    if scale is not None:
        shake(model, recipe.train.seed, scale)
    knobs = opened(Plan(recipe).at(step).values)
    return of_model(model, knobs, dtype, edges_of(recipe, knobs))


def edges_of(recipe: Recipe, knobs: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the widths of blocks and windows of a recipe's mixers."""
    found: set[int] = set()
    for options in recipe.model.mixers.values():
        for name in type(options).model_fields:
            value: Any = getattr(options, name)
            value = knobs.get(getattr(value, "knob", ""), value)
            values = value if isinstance(value, list) else [value]
            if name in BLOCKS:
                found |= {int(one) for one in values if isinstance(one, int | float)}
    return tuple(sorted(edge for edge in found if 2 < edge < 512))[:EDGES]


def moments(recipe: Recipe) -> dict[str, int]:
    """Name the steps whose knobs are looked at: the plan's first and last, where they differ."""
    plan, last = Plan(recipe), recipe.train.steps
    first, final = plan.at(1).values, plan.at(last).values
    moved = any(first[name] != final[name] for name in first if name not in ("lr", "momentum"))
    return {"last knobs": last, "first knobs": 1} if moved else {"": last}


def of_narrow(recipe: Recipe, narrow: Narrow, time: int, full: bool = False) -> Iterator[Stage]:
    """Look at a recipe: at a narrow copy of every layer closely, at the whole of it once."""
    last = recipe.train.steps

    def made(scale: float | None, step: int) -> Callable[[], Subject]:
        return lambda: narrow.subject(scale, step)

    for when, step in moments(recipe).items():
        after = f", {when}" if when else ""
        once = MODEL if step == last else ()
        yield Stage(f"shaken x1{after}", made(1.0, step), (*each(), *once), time)
        yield Stage(f"as initialised{after}", made(None, step), each(), time)
    yield Stage("after 20 steps", lambda: narrow.learnt(last), each(), time)
    yield Stage("shaken x1, every cut", made(1.0, last), ("perturbation",), time, sweep=True)
    yield Stage("shaken x100", made(100.0, last), ("perturbation",), time, lenient=True)
    far = max(recipe.train.seq_len, long(time)) if full else min(recipe.train.seq_len, 1024)
    if far > time:
        yield Stage(
            f"shaken x1, T = {far}", made(1.0, last), ("perturbation",), far, cuts=ends(far)
        )
    yield from of_whole(recipe, time, full)
    yield Stage("batches and loss", made(None, last), BATCHES, time)


def of_whole(recipe: Recipe, time: int, full: bool) -> Iterator[Stage]:
    """Look at the recipe's model in its full size."""
    dtype, probes = ("float64", each()) if full else ("float32", ("perturbation",))
    for when, step in (moments(recipe) if full else {"": recipe.train.steps}).items():
        made = partial(of_recipe, recipe, 1.0, step, dtype)
        label = f"full size, shaken x1{', ' + when if when else ''}"
        cuts = (1, time // 4, time - 1)
        # the narrow copy has answered for rows and documents: a large model takes its time
        yield Stage(label, made, probes, time, sweep=not full, cuts=cuts)
