"""Forward and backward over the micro-batches of a step: gradients add up, and so do statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surefoot.learn import precision
from surefoot.learn.laps import Laps
from surefoot.learn.learner import Learner, Loss
from surefoot.learn.share import Tree, joined
from surefoot.model.batch import Batch
from surefoot.plan.plan import Knobs
from surefoot.randomness import key

GREATEST = frozenset({"logit_max"})  # of all micro-batches; other stats are added
Micro = tuple[int, Batch]  # its number in the step, and its rows
Lane = tuple[dict[str, Tensor], dict[str, Tensor]]  # gradients, statistics


def collect(
    learner: Learner,
    micros: Sequence[Micro],
    knobs: Knobs,
    valid: int,
    probe: bool,
    laps: Laps,
) -> dict[str, Tensor]:
    """Add up the gradients of micro-batches; gives the step's loss and statistics."""
    sums = Tree[Lane](both)
    for lane in learner.share.by_lane(micros, learner.micro_batches):
        measured: dict[str, Tensor] = {}
        for place, micro in enumerate(lane, 1):
            loss, stats = forward(learner, learner.loss, micro, knobs, valid, probe)
            laps.lap("forward")
            learner.backward(loss, last=place == len(lane))
            laps.lap("backward")
            # a model gives layer_out_rms as it is: its mean is taken over the micro-batches
            if "layer_out_rms" in stats:
                stats["layer_out_rms"] = stats["layer_out_rms"] / len(micros)
            add(measured, {"loss": loss.detach(), **stats})
        sums.add((learner.gradients(), measured))
        learner.drop_gradients()
    gradients, measured = sums.total() if micros else ({}, {})
    learner.give_gradients(gradients)
    return measured


def both(left: Lane, right: Lane) -> Lane:
    """Add a lane's gradients and statistics to another's."""
    add(left[1], right[1])
    return joined(left[0], right[0]), left[1]


def forward(
    learner: Learner, given: Loss, micro: Micro, knobs: Knobs, valid: int, probe: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Give a micro-batch's part of the loss; done again it draws the same random numbers."""
    number, batch = micro
    if learner.random:
        torch.manual_seed(key(learner.train.seed, "model", knobs.step, number) >> 1)
    with precision.autocast(learner.precision, learner.device):
        return given(placed(batch, learner.device), knobs.values, valid, probe)


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
