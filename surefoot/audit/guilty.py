"""Names the modules that leak: their inputs agree on the past, and their outputs do not."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.audit.compared import pasts, same
from surefoot.audit.measure import PASS
from surefoot.audit.subject import Subject, before
from surefoot.audit.watched import Call, Calls, watching


@dataclass(frozen=True, slots=True)
class Guilty:
    """A module that gives away what it may not know yet."""

    module: str  # as torch names it
    ahead: int = 0  # tokens, at least
    first: int = 0  # position
    rows: bool = False  # whether it sees other rows of the batch
    length: bool = False  # whether it depends on how long the row is


@torch.no_grad()
def guilty(subject: Subject, time: int, cuts: list[int], isolated: bool = True) -> list[Guilty]:
    """Run perturbed pairs with hooks on every module; give the deepest that leak."""
    if not isolated:  # one row at a time, or rows would be taken for time
        alone = [one for cut in cuts for one in pair_of(subject, time, [cut])]
        return [*among_rows(subject, time), *alone]
    found = pair_of(subject, time, cuts)
    if not found and subject.loss is not None:
        found = pair_of(subject, time, cuts, loss=True)
    return found or by_length(subject, time, cuts)


def by_length(subject: Subject, time: int, cuts: list[int]) -> list[Guilty]:
    """Find the modules that give something else for a beginning than for the whole."""
    inputs, cut = subject.drawn(1, time, seed=6), sorted(cuts)[len(cuts) // 2]
    short, whole = pair(subject, subject.forward, inputs[:, :cut], inputs)
    limit = PASS[subject.dtype]

    def begun(calls: list[Call]) -> list[Call]:
        return [
            (beginnings(given, cut, time), beginnings(gave, cut, time)) for given, gave in calls
        ]

    accused = {
        name: Guilty(name, length=True)
        for name in short
        if len(short[name]) == len(whole.get(name, ()))
        and leaks(short[name], begun(whole[name]), [cut], cut, limit)
    }
    return deepest(accused)


def beginnings(values: list[Tensor], cut: int, time: int) -> list[Tensor]:
    """Cut what was recorded of a whole row down to its beginning."""
    told: list[Tensor] = []
    for value in values:
        for axis in [i for i, size in enumerate(value.shape) if size == time]:
            value = value.narrow(axis, 0, cut)
        told.append(value)
    return told


def pair_of(subject: Subject, time: int, cuts: list[int], loss: bool = False) -> list[Guilty]:
    """Find the leaking modules of one perturbed pair."""
    inputs = subject.drawn(len(cuts), time)
    other = subject.redrawn(inputs, ~before(cuts, time))
    targets = subject.redrawn(inputs, torch.ones(len(cuts), time, dtype=torch.bool))

    def run(tokens: Tensor) -> None:
        if loss:
            subject.past_loss(tokens, targets, cuts)
        else:
            subject.forward(tokens)

    first, second = pair(subject, run, inputs, other)
    limit = PASS[subject.dtype]
    accused = {
        name: Guilty(name, *look(first[name], second[name], cuts, time, limit))
        for name in first
        if len(first[name]) == len(second.get(name, ()))
        and leaks(first[name], second[name], cuts, time, limit)
    }
    return deepest(accused)


def among_rows(subject: Subject, time: int) -> list[Guilty]:
    """Find the modules through which one row sees another."""
    inputs = subject.drawn(3, time, seed=3)
    others = torch.ones(3, time, dtype=torch.bool)
    others[0] = False
    first, second = pair(subject, subject.forward, inputs, subject.redrawn(inputs, others))
    limit = PASS[subject.dtype]

    def one_row(calls: list[Call], kept: int) -> list[Call]:
        cut = [tuple([t[kept : kept + 1] for t in side if t.ndim and t.shape[0] == 3]
                     for side in call) for call in calls]  # fmt: skip
        return [(given, gave) for given, gave in cut]

    accused = {
        name: Guilty(name, rows=True)
        for name in first
        if len(first[name]) == len(second.get(name, ()))
        and leaks(one_row(first[name], 0), one_row(second[name], 0), [time], time, limit)
    }
    return deepest(accused)


def pair(
    subject: Subject, run: Callable[[Tensor], object], one: Tensor, other: Tensor
) -> tuple[Calls, Calls]:
    """Run twice, with hooks on every module."""
    with watching(subject.module) as first:
        run(one)
    with watching(subject.module) as second:
        run(other)
    return first, second


def leaks(a: list[Call], b: list[Call], cuts: list[int], time: int, limit: float) -> bool:
    """Say whether any call of a module was given the same past, and gave another."""
    return any(
        timed(x[0], cuts, time)
        and same(x[0], y[0], cuts, time, limit)
        and not same(x[1], y[1], cuts, time, limit)
        for x, y in zip(a, b, strict=True)
    )


def timed(given: list[Tensor], cuts: list[int], time: int) -> bool:
    """Say whether an input can be compared; padded along time it can't, and nobody is accused."""
    return not given or any(pasts(value, cuts, time) is not None for value in given)


def look(a: list[Call], b: list[Call], cuts: list[int], time: int, limit: float) -> tuple[int, int]:
    """Say how far ahead a module looks, and from which position on."""
    worst, first = 0, time
    for x, y in zip(a, b, strict=True):
        for left, right in zip(x[1], y[1], strict=False):
            for cut, p, q in rows_of(left, right, cuts, time):
                moved = (p.double() - q.double()).abs().flatten(1).amax(dim=1)
                places = torch.nonzero(moved > limit * float(p.abs().max().clamp(min=1e-30)))
                if len(places):
                    worst = max(worst, cut - int(places[0]))
                    first = min(first, int(places[0]))
    return worst, first


def rows_of(a: Tensor, b: Tensor, cuts: list[int], time: int) -> list[tuple[int, Tensor, Tensor]]:
    """Give each row's past of a pair, time first."""
    left, right = pasts(a, cuts, time), pasts(b, cuts, time)
    if left is None or right is None or len(left) != len(cuts) or a.is_complex():
        return []
    found: list[tuple[int, Tensor, Tensor]] = []
    for cut, p, q in zip(cuts, left, right, strict=True):
        axis = next((i for i, size in enumerate(p.shape) if size == cut), None)
        if axis is not None:
            p, q = p.movedim(axis, 0), q.movedim(axis, 0)
            found.append((cut, p.reshape(cut, -1), q.reshape(cut, -1)))
    return found


def deepest(accused: dict[str, Guilty]) -> list[Guilty]:
    """Leave out what only contains another that leaks."""
    return [
        one
        for name, one in accused.items()
        if not any(other.startswith(f"{name}.") for other in accused)
    ]
