"""One step: the only place where weights and optimiser state change while training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surefoot.learn import foreach, oom
from surefoot.learn.collect import Micro, collect, read
from surefoot.learn.laps import Laps
from surefoot.learn.learner import Group, Learner
from surefoot.learn.sift import named, pooled, sift, spoilt
from surefoot.model.batch import IGNORED, Batch
from surefoot.plan.plan import Knobs
from surefoot.records import Step

FIELDS = ("ce", "entropy", "z2", "logit_max", "logit_sat_share", "layer_out_rms")


def advance(
    learner: Learner,
    batch: Batch,
    knobs: Knobs,
    generation: int = 0,
    tokens: int = 0,
    probe: bool = False,
) -> Step:
    """Learn from one batch: gradients, one look at them, then an update or nothing at all."""
    laps = Laps(learner.device)
    known = Known(learner, knobs, batch, generation, tokens)
    if not known.valid:  # nothing to learn from: the mean over no target isn't a number
        return known.step({"loss": math.nan, "ce": math.nan, "grad_norm": 0.0}, skipped=True)
    with learner.among(), oom.caught(learner, knobs.step, laps):
        micros = learner.share.own(list(batch.micro(learner.micro_rows)))
        return learned(learner, micros, known, probe, laps)


def learned(learner: Learner, micros: list[Micro], known: "Known", probe: bool, laps: Laps) -> Step:
    """Learn from all micro-batches; if that gives no number, from those that do give one."""
    knobs, extra = known.knobs, dict[str, Any]()
    seen = attempt(learner, micros, known, probe, laps)
    if not seen.finite:
        seen, extra = sifted(learner, micros, known, seen, probe, laps)
    if not seen.finite:
        learner.drop_gradients()
        return known.step(seen.told, skipped=True, laps=laps, **extra)
    if probe:
        extra["layer_grad_norm"] = by_layer(list(seen.gradients), seen.norms.tolist())
    gradients = list(seen.gradients.values())
    seen.gradients.clear()  # each is freed with its own update
    clipped = clip(gradients, seen.told["grad_norm"], learner.train.clip)
    del gradients
    lr, ratios = update(learner, knobs, probe)
    laps.lap("update")
    if probe:
        extra["update_ratio"] = read(ratios)
    return known.step(seen.told, lr=lr, clipped=clipped, laps=laps, **extra)


@dataclass(frozen=True, slots=True)
class Seen:
    """The gradients of a step, and the one look at them."""

    gradients: dict[str, Tensor]
    norms: Tensor  # of each
    told: dict[str, Any]

    @property
    def finite(self) -> bool:
        """Whether all of it may reach the weights."""
        return math.isfinite(self.told["loss"]) and math.isfinite(self.told["grad_norm"])


def attempt(
    learner: Learner, micros: Sequence[Micro], known: "Known", probe: bool, laps: Laps
) -> Seen:
    """Collect gradients, sum them over ranks, and look at them once."""
    learner.drop_gradients()
    measured = collect(learner, micros, known.knobs, known.valid, probe, laps)
    if learner.over_ranks is not None:
        measured = learner.over_ranks(learner, measured)
    gradients = learner.gradients()
    if learner.reduce is not None:
        learner.reduce(list(gradients.values()))
    norms = learner.norms(list(gradients.values()))
    told = read({**measured, "grad_norm": torch.linalg.vector_norm(norms)})
    return Seen(gradients, norms, told)


def sifted(
    learner: Learner,
    micros: list[Micro],
    known: "Known",
    first: Seen,
    probe: bool,
    laps: Laps,
) -> tuple[Seen, dict[str, Any]]:
    """Do a step again without the micro-batches that spoil it; tells which these were."""
    first.gradients.clear()
    found = pooled(learner, sift(learner, micros, known.knobs, known.valid))
    laps.lap("sift")
    extra: dict[str, Any] = {"skipped_micro": found.bad} if found.bad else {}
    if not found.valid:
        return first, {**extra, "nonfinite": named(found.where)}
    known.left(found.valid)
    seen = attempt(learner, found.good, known, probe, laps)
    if not seen.finite:
        found.where.update(unsound(learner, seen.told))
    elif not found.bad:
        extra["transient"] = list(range(learner.share.ranks))
    return seen, {**extra, "nonfinite": named(found.where)}


def unsound(learner: Learner, told: Mapping[str, Any]) -> dict[str, int]:
    """Say what of a sum is not finite, though each part of it may be."""
    if not math.isfinite(told["loss"]):
        return {"loss": 1}
    return {**named(spoilt(learner, whole=True)), "grad_norm": 1}


def counted(batch: Batch) -> int:
    """Count the targets that are learned from, over the whole step."""
    return batch.valid or int((batch.targets != IGNORED).sum())


def clip(gradients: list[Tensor], norm: float, limit: float) -> bool:
    """Shrink all gradients alike where their common norm is over the limit."""
    share = limit / (norm + 1e-6)
    if not limit or share >= 1.0:
        return False
    foreach.scale(gradients, share)
    return True


def update(
    learner: Learner, knobs: Knobs, probe: bool
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Move every role's weights and free their gradients; gives the lr used, and size of change."""
    learner.wait_for_readers()
    learner.moving = True
    used: dict[str, float] = {}
    ratios: dict[str, Tensor] = {}
    for group in learner.groups:
        before = [p.detach().clone() for p in group.parameters.values()] if probe else []
        used[group.role] = group.optimiser.update(knobs.lr[group.role], knobs.momentum)
        for parameter in group.parameters.values():
            parameter.grad = None
        if probe:
            ratios[group.role] = change(learner, group, before)
    learner.moving = False
    return used, ratios


@torch.no_grad()
def change(learner: Learner, group: Group, before: list[Tensor]) -> Tensor:
    """Give the size of an update by the size of the weights before it."""
    size = torch.linalg.vector_norm(learner.norms(before))
    foreach.subtract(before, list(group.parameters.values()))
    return torch.linalg.vector_norm(learner.norms(before)) / size.clamp_min(1e-12)


def by_layer(names: list[str], norms: list[float]) -> list[float]:
    """Gather gradient norms by layer, from parameters named layers.<number>...."""
    squares: dict[int, float] = {}
    for name, norm in zip(names, norms, strict=True):
        parts = name.split(".")
        if parts[0] == "layers" and len(parts) > 1 and parts[1].isdigit():
            squares[int(parts[1])] = squares.get(int(parts[1]), 0.0) + norm * norm
    return [math.sqrt(squares[layer]) for layer in sorted(squares)]


class Known:
    """What a Step says that was known before it: where in the run and in the data it stands."""

    def __init__(
        self, learner: Learner, knobs: Knobs, batch: Batch, generation: int, tokens: int
    ) -> None:
        self.knobs = knobs
        self.planned = {group.role: knobs.lr[group.role] for group in learner.groups}
        self.fields: dict[str, Any] = {
            "step": knobs.step,
            "generation": generation,
            "tokens": tokens,
            "position": batch.position,
            "batch_hash": batch.hash,
            "valid_tokens": counted(batch),
            "knobs": dict(knobs.values),
        }

    @property
    def valid(self) -> int:
        """Count the targets that are learned from."""
        return self.fields["valid_tokens"]

    def left(self, valid: int) -> None:
        """Learn from fewer targets than the batch has."""
        self.fields["valid_tokens"] = valid

    def step(self, told: Mapping[str, Any], laps: Laps | None = None, **more: Any) -> Step:
        """Put the record together; a step that was skipped tells the lr that was planned."""
        rest = {k: v for k, v in told.items() if k not in (*FIELDS, "loss", "grad_norm")}
        own = {name: told[name] for name in FIELDS if name in told}
        seconds = laps.seconds() if laps else {}
        return Step(
            **self.fields,
            **{"lr": self.planned, **own, **more},
            loss=told["loss"],
            grad_norm=told["grad_norm"],
            aux=rest,
            forward_s=seconds.get("forward"),
            backward_s=seconds.get("backward"),
            update_s=seconds.get("update"),
        )
