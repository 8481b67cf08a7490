"""One step: the only place where weights and optimiser state change while training."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surefoot.learn import foreach, precision
from surefoot.learn.laps import Laps
from surefoot.learn.learner import Group, Learner
from surefoot.model.batch import IGNORED, Batch
from surefoot.plan.plan import Knobs
from surefoot.randomness import key
from surefoot.records import Step

GREATEST = frozenset({"logit_max"})  # of all micro-batches; other stats are added
FIELDS = ("ce", "entropy", "z2", "logit_max", "logit_sat_share", "layer_out_rms")
NAMED = 8  # parameters with a non-finite gradient that a Step names


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
    valid = known.fields["valid_tokens"]
    if not valid:  # nothing to learn from: the mean over no target isn't a number
        return known.step({"loss": math.nan, "ce": math.nan, "grad_norm": 0.0}, skipped=True)
    learner.drop_gradients()
    measured = collect(learner, batch, knobs, valid, probe, laps)
    gradients = learner.gradients()
    if learner.reduce is not None:
        learner.reduce(list(gradients.values()))
    norms = foreach.norms(list(gradients.values()))
    told = read({**measured, "grad_norm": torch.linalg.vector_norm(norms)})
    if not (math.isfinite(told["loss"]) and math.isfinite(told["grad_norm"])):
        return known.step(told, skipped=True, nonfinite=nonfinite(learner, told), laps=laps)
    extra: dict[str, Any] = {}
    if probe:
        extra["layer_grad_norm"] = by_layer(list(gradients), norms.tolist())
    clipped = clip(list(gradients.values()), told["grad_norm"], learner.train.clip)
    del gradients
    lr, ratios = update(learner, knobs, probe)
    laps.lap("update")
    if probe:
        extra["update_ratio"] = read(ratios)
    return known.step(told, lr=lr, clipped=clipped, laps=laps, **extra)


def collect(
    learner: Learner, batch: Batch, knobs: Knobs, valid: int, probe: bool, laps: Laps
) -> dict[str, Tensor]:
    """Add up the gradients of all micro-batches; gives the step's loss and statistics."""
    measured: dict[str, Tensor] = {}
    micros = list(batch.micro(learner.micro_rows))
    for number, micro in enumerate(micros):
        if learner.random:
            torch.manual_seed(key(learner.train.seed, "model", knobs.step, number) >> 1)
        with precision.autocast(learner.precision, learner.device):
            loss, stats = learner.loss(placed(micro, learner.device), knobs.values, valid, probe)
        laps.lap("forward")
        loss.backward()
        laps.lap("backward")
        # a model gives layer_out_rms as it is: its mean is taken over the micro-batches
        if "layer_out_rms" in stats:
            stats["layer_out_rms"] = stats["layer_out_rms"] / len(micros)
        add(measured, {"loss": loss.detach(), **stats})
    return measured


def counted(batch: Batch) -> int:
    """Count the targets that are learned from, over the whole step."""
    return batch.valid or int((batch.targets != IGNORED).sum())


def placed(batch: Batch, device: torch.device) -> Batch:
    """Bring a batch to the device that learns."""
    parts = {name: getattr(batch, name) for name in ("tokens", "targets", "doc", "positions")}
    moved = {
        name: tensor.to(device, non_blocking=True)
        for name, tensor in parts.items()
        if tensor is not None
    }
    return replace(batch, **moved)


def add(total: dict[str, Tensor], part: Mapping[str, Tensor]) -> None:
    """Take one micro-batch's statistics into the step's."""
    for name, value in part.items():
        if name not in total:
            total[name] = value
        elif name in GREATEST:
            total[name] = torch.maximum(total[name], value)
        else:
            total[name] = total[name] + value


def read(measured: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read numbers from the device at once: the one time that a step waits for it."""
    if not measured:
        return {}
    device = next(iter(measured.values())).device
    wide = torch.float32 if device.type == "mps" else torch.float64
    flat = [value.detach().flatten().to(device, wide) for value in measured.values()]
    values = torch.cat(flat).tolist()
    told: dict[str, Any] = {}
    at = 0
    for (name, tensor), piece in zip(measured.items(), flat, strict=True):
        part = values[at : at + len(piece)]
        told[name] = part if tensor.dim() else part[0]
        at += len(piece)
    return told


def nonfinite(learner: Learner, told: Mapping[str, Any]) -> dict[str, int]:
    """Say where numbers are not finite: the loss, or gradients by parameter; and drop them all."""
    found: dict[str, int] = {}
    if not math.isfinite(told["loss"]):
        found["loss"] = 1
    else:
        counts = read({n: g.isfinite().logical_not().sum() for n, g in learner.gradients().items()})
        bad = {name: int(count) for name, count in counts.items() if count}
        found |= {name: bad[name] for name in list(bad)[:NAMED]}
        found["grad_norm"] = 1
    learner.drop_gradients()
    return found


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
    used: dict[str, float] = {}
    ratios: dict[str, Tensor] = {}
    for group in learner.groups:
        before = [p.detach().clone() for p in group.parameters.values()] if probe else []
        used[group.role] = group.optimiser.update(knobs.lr[group.role], knobs.momentum)
        for parameter in group.parameters.values():
            parameter.grad = None
        if probe:
            ratios[group.role] = change(group, before)
    return used, ratios


@torch.no_grad()
def change(group: Group, before: list[Tensor]) -> Tensor:
    """Give the size of an update by the size of the weights before it."""
    size = torch.linalg.vector_norm(foreach.norms(before))
    foreach.subtract(before, list(group.parameters.values()))
    return torch.linalg.vector_norm(foreach.norms(before)) / size.clamp_min(1e-12)


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
