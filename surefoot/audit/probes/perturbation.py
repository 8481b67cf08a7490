"""Redraws all later tokens and compares every earlier output, and every recorded choice.

Leak = max |out(x)[:c] - out(x')[:c]| / max |out|, x' = x but for positions >= c; whole numbers and
yes or no, in the trace or given by any module, must be equal exactly. The same with other rows of
the batch redrawn, with other documents redrawn, and for the loss of the past's targets.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from surefoot.audit.case import Case
from surefoot.audit.compared import changed, reach, same, share
from surefoot.audit.measure import PASS, Measure
from surefoot.audit.subject import Raised, Subject, Trace, before
from surefoot.audit.watched import choices, watching
from surefoot.errors import SurefootError

ORDER = 1
EACH = True  # condition
TOGETHER = 32  # rows of a sweep that are run at once


@torch.no_grad()
def probe(case: Case) -> Iterator[Measure]:
    """Measure what later tokens, other rows and other documents change."""
    if case.sweep:
        yield worst(swept(case))
        return
    row = rows(case)
    yield row
    isolated = not row.leaks
    together = [case.cuts] if isolated else [[cut] for cut in case.cuts]
    yield worst(later(case, cuts) for cuts in together)
    if case.subject.documents:
        yield documents(case)
    if case.subject.loss is not None:
        yield past_loss(case)


def worst(found: Iterable[Measure]) -> Measure:
    """Give the measure that leaks most."""
    return max(found, key=lambda m: (bool(m.choices), m.value))


def later(case: Case, cuts: list[int]) -> Measure:
    """Redraw what comes after each row's cut."""
    subject, time = case.subject, case.length
    inputs = subject.drawn(len(cuts), time)
    past = before(cuts, time)
    a, first = seen(subject, inputs)
    b, second = seen(subject, subject.redrawn(inputs, ~past))
    limit = PASS[subject.dtype]
    far = share(a, b, past)
    moved = [name for name, value in first.items() if moves(value, second.get(name), cuts, limit)]
    ahead, begun = reach(far, cuts, limit)
    return Measure(
        probe="perturbation",
        value=float(far.max()),
        ahead=ahead,
        first=begun,
        choices=tuple(name.split("#")[0] for name in moved),
    )


def swept(case: Case) -> Iterator[Measure]:
    """Redraw one row from each of very many cuts on: a look at a single place is seen too."""
    subject, time = case.subject, case.length
    one = subject.drawn(1, time)
    whole, limit = subject.forward(one), PASS[subject.dtype]
    some = TOGETHER if case.isolated else 1
    for i in range(0, len(case.cuts), some):
        cuts = case.cuts[i : i + some]
        past = before(cuts, time)
        inputs = one.expand(len(cuts), *one.shape[1:])
        out = subject.forward(subject.redrawn(inputs, ~past))
        far = share(whole.expand_as(out), out, past)
        ahead, first = reach(far, cuts, limit)
        yield Measure(probe="perturbation", value=float(far.max()), ahead=ahead, first=first)


def seen(subject: Subject, inputs: Tensor) -> tuple[Tensor, Trace]:
    """Run, and keep what was chosen on the way."""
    trace = Trace()
    with watching(subject.module, chosen=True) as calls:
        out = subject.forward(inputs, trace)
    if not bool(out.isfinite().all()):
        raise Raised(inputs.shape[1], ValueError("its output is not finite"))
    return out, trace | choices(calls)


def moves(a: Tensor, b: Tensor | None, cuts: list[int], limit: float) -> bool:
    """Say whether something recorded changed in the past; a trace's time axis is the second."""
    if b is None:
        return True
    if a.dtype.is_floating_point:
        return changed(a, b, cuts, limit)
    time = a.shape[1] if a.ndim > 1 else 0
    if a.ndim > 1 and a.shape[0] == len(cuts) and (time, a.shape) == (b.shape[1], b.shape):
        return changed(a, b, cuts, limit)
    return not same([a], [b], cuts, max(a.shape, default=0), limit) if a.ndim > 1 else False


def rows(case: Case) -> Measure:
    """Redraw all rows but one."""
    subject, time = case.subject, case.length
    inputs = subject.drawn(3, time, seed=3)
    worst = 0.0
    for kept in (0, 2):
        others = torch.ones(3, time, dtype=torch.bool)
        others[kept] = False
        a, b = subject.forward(inputs), subject.forward(subject.redrawn(inputs, others))
        worst = max(worst, float(share(a, b, ~others).max()))
    return Measure(probe="perturbation: rows", value=worst)


def documents(case: Case) -> Measure:
    """Redraw all documents of a row but the second."""
    subject, time = case.subject, case.length
    inputs = subject.drawn(2, time, seed=4)
    edges = torch.tensor([time // 3, time // 3 + 1, 2 * time // 3])
    doc = (torch.arange(time)[:, None] >= edges).sum(dim=1).expand(2, time)
    worst = 0.0
    for kept in (0, 2, 3):
        others = doc != kept
        try:
            a = subject.run(inputs, {}, doc)
            b = subject.run(subject.redrawn(inputs, others), {}, doc)
        except SurefootError as error:  # it refuses to be given documents
            return Measure(probe="perturbation: documents", skipped=str(error))
        worst = max(worst, float(share(a, b, ~others).max()))
    return Measure(probe="perturbation: documents", value=worst)


def past_loss(case: Case) -> Measure:
    """Redraw what comes after each row's cut, but not the targets: what heads read may not move."""
    subject, time, cuts = case.subject, case.length, case.cuts
    inputs = subject.drawn(len(cuts), time, seed=5)
    targets = subject.redrawn(inputs, torch.ones_like(inputs, dtype=torch.bool))
    a = subject.past_loss(inputs, targets, cuts)
    other = subject.redrawn(inputs, ~before(cuts, time))
    b = subject.past_loss(other, targets, cuts)
    return Measure(
        probe="perturbation: loss", value=float((a - b).abs() / a.abs().clamp(min=1e-30))
    )
