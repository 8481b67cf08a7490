"""The one reduction of a step: gradients and statistics, summed over all ranks.

`ring`: each rank's sum, all-reduced in one flat fp32 buffer; which rank is added when is the
backend's affair. `exact`: each rank gets one piece of every rank's buffer, adds the pieces as a
balanced tree over rank numbers, and all gather the sums: with `Share`'s lanes below it, the result
has the same bits for every number of ranks that divides the lanes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from surefoot.learn.collect import GREATEST
from surefoot.learn.learner import Learner

Total = Callable[[Tensor], Tensor]  # of one rank's buffer: the sum over all ranks
MEANS = frozenset({"layer_out_rms"})  # over the micro-batches of a rank, so over ranks too


class Reduction:
    """Sums what the ranks of a step have found; every rank gets the same bits."""

    def __init__(self, rank: int, ranks: int, group: Any, kind: Literal["ring", "exact"]) -> None:
        self.rank, self.ranks, self.group = rank, ranks, group
        self.total: Total = self.ring if kind == "ring" else self.exact
        self.names: list[str] = []  # of the parameters that had gradients, as they were last
        self.shapes: list[tuple[str, torch.Size]] = []  # of the statistics, as they were last

    def __call__(self, learner: Learner, measured: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace gradients by their sum over ranks, and give the statistics of all of them.

        A rank that has nothing left to give joins with the zeros of its last shapes.
        """
        gradients, device = self.gradients(learner), learner.device
        told = {name: value.detach() for name, value in measured.items()}
        if told:
            self.shapes = [(name, value.shape) for name, value in told.items()]
        else:
            told = {name: torch.zeros(shape, device=device) for name, shape in self.shapes}
        parts = [gradient.flatten().float() for gradient in gradients]
        parts += [self.spread(name, value) for name, value in told.items()]
        sizes = [part.numel() for part in parts]
        summed = list(self.total(torch.cat(parts)).split(sizes))
        for gradient, part in zip(gradients, summed, strict=False):
            gradient.copy_(part.view_as(gradient))
        rest = summed[len(gradients) :]
        return {
            name: self.gathered(name, part, told[name])
            for name, part in zip(told, rest, strict=True)
        }

    def gradients(self, learner: Learner) -> list[Tensor]:
        """Give the gradients that are still to be summed; of sharded ones none is."""
        if learner.shards is not None:
            return []
        if not learner.gradients():
            zeros = {name: torch.zeros_like(learner.parameters[name]) for name in self.names}
            learner.give_gradients(zeros)
        self.names = list(learner.gradients())
        return list(learner.gradients().values())

    def spread(self, name: str, value: Tensor) -> Tensor:
        """Write a statistic so that a sum over ranks keeps it; the greatest has a place a rank."""
        flat = value.flatten().float()
        if name not in GREATEST:
            return flat
        places = torch.zeros(self.ranks, flat.numel(), device=flat.device)
        places[self.rank] = flat
        return places.flatten()

    def gathered(self, name: str, part: Tensor, like: Tensor) -> Tensor:
        """Read a statistic of all ranks out of the sum."""
        if name in GREATEST:
            part = part.view(self.ranks, -1).amax(0)
        elif name in MEANS:
            part = part / self.ranks
        return part.view_as(like)

    def ring(self, flat: Tensor) -> Tensor:
        """Sum over ranks, in the order that the backend likes best."""
        dist.all_reduce(flat, group=self.group)
        return flat

    def exact(self, flat: Tensor) -> Tensor:
        """Sum over ranks as a balanced tree over their numbers."""
        size = flat.numel()
        padded = torch.nn.functional.pad(flat, (0, -size % self.ranks))
        pieces = torch.empty_like(padded)  # one of each rank: the same places of all buffers
        dist.all_to_all_single(pieces, padded, group=self.group)
        rows = pieces.view(self.ranks, -1)
        while len(rows) > 1:
            rows = rows[0::2] + rows[1::2]
        places = list(padded.view(self.ranks, -1).unbind(0))
        dist.all_gather(places, rows[0], group=self.group)
        return padded[:size]
