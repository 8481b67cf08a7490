"""Begins from weights that were made before: by name, all that fit, with fresh optimisers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surefoot.errors import Problem, ShelfError
from surefoot.learn.learner import SHOWN, Learner

NAMED = 8  # tensors that are told by name


@dataclass(frozen=True, slots=True)
class Matched:
    """Which tensors a model takes over, which begin afresh, and which it has no place for."""

    taken: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(
            [
                f"{len(self.taken)} tensors matched",
                f"{len(self.new)} new{some(self.new)}",
                f"{len(self.dropped)} dropped{some(self.dropped)}",
            ]
        )

    def row(self) -> dict[str, Any]:
        """Give what the journal tells of it."""
        told = {"matched": len(self.taken), "new": len(self.new), "dropped": len(self.dropped)}
        return told | {"new_names": self.new[:NAMED], "dropped_names": self.dropped[:NAMED]}


def some(names: Sequence[str]) -> str:
    """Name a few."""
    if not names:
        return ""
    return f" ({', '.join(names[:2])}{' ...' if len(names) > 2 else ''})"


def matched(own: Mapping[str, Tensor], saved: Mapping[str, Sequence[int]]) -> Matched:
    """Compare names and shapes; other shapes, or none that fits, are refused with the table."""
    both = [name for name in own if name in saved]
    rows = [
        f"{name}: {list(saved[name])} there, {list(own[name].shape)} in this model"
        for name in both
        if tuple(saved[name]) != tuple(own[name].shape)
    ]
    if rows or not both:
        more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        why = f"{len(rows)} tensors are of another shape: {'; '.join(rows[:SHOWN] + more)}"
        if not both:
            first = ", ".join(list(saved)[:3])
            why = f"none of its {len(saved)} tensors has a name of this model's ({first} ...)"
        raise ShelfError(
            Problem("--init-from", "", why, "Write a recipe whose [model] is that of the weights")
        )
    new = tuple(name for name in own if name not in saved)
    dropped = tuple(name for name in saved if name not in own)
    return Matched(tuple(both), new, dropped)


@torch.no_grad()
def begin_from(learner: Learner, saved: Mapping[str, Tensor]) -> Matched:
    """Take over the weights that fit; optimiser state stays as it begins, at zero."""
    found = matched(
        learner.forms(learner.parameters), {name: tensor.shape for name, tensor in saved.items()}
    )
    if bad := [name for name in found.taken if not bool(saved[name].isfinite().all())]:
        why = f"{len(bad)} of its tensors hold numbers that are not finite (first: {bad[0]})"
        raise ShelfError(Problem("--init-from", "", why, "Write an earlier checkpoint: best"))
    for name in found.taken:
        learner.take(learner.parameters[name], saved[name])
    return found
