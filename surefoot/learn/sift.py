"""Does a step that is not finite again, and finds the micro-batches that made it so.

Batches and random numbers are pure, so nothing has to be tested while all is well. Each micro-batch
goes through alone: its loss is tested before its backward pass, then its gradient. What is left
over is collected anew, divided by the targets that are left: the bits of a step in which the others
never were. If every one is finite by itself, either their sum is not, or the machine erred.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.learn.collect import Micro, forward, read
from surefoot.learn.learner import Learner
from surefoot.model.batch import IGNORED
from surefoot.plan.plan import Knobs

NAMED = 8  # parameters with a non-finite gradient that a Step names
LISTED = 64  # micro-batches that it lists: a line of the journal has an end


@dataclass(frozen=True, slots=True)
class Sifted:
    """What is left of a step's micro-batches, and what was wrong with the others."""

    good: list[Micro] = field(default_factory=list[Micro])
    bad: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  # as a Step tells it
    where: dict[str, int] = field(default_factory=dict[str, int])

    others: int = 0  # targets that are left to other ranks

    @property
    def own(self) -> int:
        """Count the targets that are left to this rank."""
        return sum(int((micro.targets != IGNORED).sum()) for _, micro in self.good)

    @property
    def valid(self) -> int:
        """Count the targets that are left."""
        return self.own + self.others


def sift(learner: Learner, micros: Sequence[Micro], knobs: Knobs, valid: int) -> Sifted:
    """Try each micro-batch by itself; leaves no gradient behind."""
    found = Sifted()
    for micro in micros:
        learner.drop_gradients()
        number, batch = micro
        wrong, layer = fault(learner, micro, knobs, valid)
        if not wrong:
            found.good.append(micro)
            continue
        for name, count in wrong.items():
            found.where[name] = found.where.get(name, 0) + count
        if len(found.bad) < LISTED:
            found.bad.append(
                {
                    "rank": learner.rank,
                    "micro": number,
                    "of": len(micros) * learner.share.ranks,
                    "positions": [batch.position, batch.position + len(batch.tokens)],
                    "what": "loss" if "loss" in wrong else "gradient",
                    "layer": layer,
                }
            )
    learner.drop_gradients()
    return found


def pooled(learner: Learner, found: Sifted) -> Sifted:
    """Bring together what all ranks have found; what is left stays with each."""
    if learner.pool is None:
        return found
    told = learner.pool({"valid": found.own, "bad": found.bad, "where": found.where})
    where: dict[str, int] = {}
    for said in told:
        for name, count in said["where"].items():
            where[name] = where.get(name, 0) + count
    bad = [one for said in told for one in said["bad"]]
    return Sifted(found.good, bad, where, sum(said["valid"] for said in told) - found.own)


def fault(learner: Learner, micro: Micro, knobs: Knobs, valid: int) -> tuple[dict[str, int], str]:
    """Say what of a micro-batch is not finite, how often, and the layer where it begins."""
    loss, _ = forward(learner, learner.loss, micro, knobs, valid)
    bad = not math.isfinite(float(loss.detach()))
    # sharded ranks pass through a model together, so none can leave a pass out alone
    if bad if learner.shards is None else learner.shards.any(bad):
        layer = first_bad(learner, micro, knobs, valid)
        return {"loss": int(bad)}, layer if bad else ""
    learner.backward(loss)
    norms = learner.norms(list(learner.gradients().values()))
    if math.isfinite(float(torch.linalg.vector_norm(norms))):
        return {}, ""
    wrong = spoilt(learner)
    # backward goes from the loss down: the last of the model's own order is where it began
    return {**wrong, "grad_norm": 1}, owner(list(wrong)[-1]) if wrong else ""


def spoilt(learner: Learner, whole: bool = False) -> dict[str, int]:
    """Count the elements that are not finite in each gradient, or in this rank's rows of it."""
    found = {n: g.isfinite().logical_not().sum() for n, g in learner.gradients().items()}
    if whole and learner.shards is not None:
        found = {name: learner.shards.total(count) for name, count in found.items()}
    counts = read(found)
    return {name: int(count) for name, count in counts.items() if count}


def named(wrong: dict[str, int]) -> dict[str, int]:
    """Keep the first few parameters, and what is none."""
    whole = [name for name in wrong if name in ("loss", "grad_norm")]
    return {name: wrong[name] for name in [*[n for n in wrong if n not in whole][:NAMED], *whole]}


def owner(parameter: str) -> str:
    """Give the module that a parameter belongs to."""
    return parameter.rpartition(".")[0] or parameter


@torch.no_grad()
def first_bad(learner: Learner, micro: Micro, knobs: Knobs, valid: int) -> str:
    """Name the first module whose output is not finite; "loss" where all are."""
    found: list[str] = []

    def looking(name: str) -> Callable[..., None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG001
            if not found and not all(bool(one.isfinite().all()) for one in inside(output)):
                found.append(name)

        return look

    model: Any = learner.model
    hooks = [one.register_forward_hook(looking(n)) for n, one in model.named_modules() if n]
    try:
        forward(learner, model.loss, micro, knobs, valid)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "loss"


def inside(output: Any) -> Iterator[Tensor]:
    """Give the tensors of numbers in what a module puts out."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, list | tuple):
        for one in output:
            yield from inside(one)
