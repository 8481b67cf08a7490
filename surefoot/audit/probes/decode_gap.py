"""Compares what a model says of a text at once with what it says token by token.

gap = mean ce of forward - mean ce of teacher-forced decoding, nats, on the same 128 tokens; where
a model has no decoding, the last position of 32 beginnings. A model that reads ahead does better
at once than it ever can when the future isn't there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from surefoot.audit.case import Case
from surefoot.audit.measure import Measure

ORDER = 5
EACH = False  # once, under the condition that hides least
TOKENS = 128
BEGINNINGS = 32
LIMIT = 1e-4  # nats


@torch.no_grad()
def probe(case: Case) -> Iterator[Measure]:
    """Measure the gap."""
    subject = case.subject
    if not subject.vocab or not subject.logits:
        yield Measure(probe="decode_gap", skipped="its output is no logit for each id")
        return
    time = min(TOKENS, case.length)
    tokens = subject.drawn(1, time, seed=8)
    targets = subject.drawn(1, time, seed=9)
    whole = subject.forward(tokens)
    if subject.decode is not None:
        told, at = subject.decode(tokens), torch.arange(time)
    else:
        at = torch.linspace(0, time - 1, min(BEGINNINGS, time)).long().unique()
        last = [subject.forward(tokens[:, : t + 1])[:, -1:] for t in at.tolist()]
        told = torch.cat(last, dim=1)
    gap = ce(whole[:, at], targets[:, at]) - ce(told, targets[:, at])
    yield Measure(probe="decode_gap", value=abs(gap), tolerance=LIMIT, said=f"{gap:+.1e} nats")


def ce(logits: Tensor, targets: Tensor) -> float:
    """Give the mean cross-entropy."""
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), targets[0]))
