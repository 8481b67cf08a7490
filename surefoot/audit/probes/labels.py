"""Lets the real batch builder read a corpus of counters, and looks at what it calls a target.

Each target must be the token after its input: not the input itself, nothing before it, nothing
further ahead, nothing of another document where rows are documents; and what is masked must not
count. The share of targets that break this is measured.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from surefoot.audit.case import Case
from surefoot.audit.measure import Measure
from surefoot.audit.pipeline import Pipeline
from surefoot.data.tokenizers.ids import Tokenizer
from surefoot.model.batch import IGNORED, Batch

ORDER = 6
EACH = False  # condition: it is about batches, not weights
LENGTHS = (1, 2, 40, 7, 150, 31, 64, 3)  # of documents, over and over
END = 0
TIME, ROWS, STEPS = 31, 4, 6
TOKENS = 4000


def probe(case: Case) -> Iterator[Measure]:
    """Count the targets that are not the next token."""
    assert case.pipeline is not None, "labels are a recipe's"
    tokens, ends = counters()
    ids = Tokenizer(TOKENS + 2, eos=END, pad=TOKENS + 1)
    faults: Counter[str] = Counter()
    counted = 0
    with case.pipeline.dataset(tokens, ends, ids, ROWS, TIME) as dataset:
        whole = (
            dataset.documents is not None
        )  # a row is a document: it ends where the document does
        batches = [(dataset.batch(step), whole) for step in range(1, STEPS + 1)]
        batches += [(batch, False) for batch in dataset.validation(ROWS)][:STEPS]
        for batch, bounded in batches:
            counted += int((batch.targets != IGNORED).sum())
            faults.update(wrong(batch, tokens, ends, bounded))
            faults.update(misparted(batch, ends))
    yield said("labels", faults, counted)
    yield said("labels: masked", masked(case.pipeline), 1)


def said(name: str, faults: Counter[str], counted: int) -> Measure:
    """Give the share of wrong targets, and what is wrong with most of them."""
    share = sum(faults.values()) / max(1, counted)
    told = "; ".join(f"{what} ({count} of {counted})" for what, count in faults.most_common(2))
    if not counted:
        return Measure(probe=name, failed="the builder gave no target at all")
    return Measure(probe=name, value=share, tolerance=0.0, said=told)


def counters() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Make documents of numbers that never come again, each but for its end."""
    tokens = np.arange(1, TOKENS + 1)
    ends: list[int] = []
    at = 0
    while at < TOKENS:
        at += LENGTHS[len(ends) % len(LENGTHS)] + 1
        ends.append(min(at, TOKENS))
    tokens[np.array(ends) - 1] = END
    return tokens, np.array(ends)


def places(row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say where in the corpus each input stands; the ends by their neighbours, padding nowhere."""
    found = np.where((row > END) & (row <= TOKENS), row - 1, -1)
    for i in range(1, len(row)):
        if row[i] == END and found[i - 1] >= 0:
            found[i] = found[i - 1] + 1
    for i in range(len(row) - 2, -1, -1):
        if row[i] == END and found[i] < 0 and found[i + 1] >= 0:
            found[i] = found[i + 1] - 1
    return found


def wrong(
    batch: Batch, tokens: NDArray[np.int64], ends: NDArray[np.int64], bounded: bool
) -> Iterator[str]:
    """Name what is wrong with each target that counts."""
    for row, targets in zip(batch.tokens.numpy(), batch.targets.numpy(), strict=True):
        for place, token, target in zip(places(row), row, targets, strict=True):
            if target == IGNORED or (place < 0 and token == END):
                continue  # an end with no neighbour that tells where it stands
            if place < 0:
                yield "padding is learnt from"
            elif place + 1 >= len(tokens) or target != tokens[place + 1]:
                yield misplaced(int(token), int(target), int(place))
            elif bounded and place + 1 in ends:
                yield "a target is of another document"


def misplaced(token: int, target: int, place: int) -> str:
    """Say what a target is instead of the next token."""
    if target == token:
        return "targets are not shifted: y[t] = x[t]"
    if END < target <= TOKENS:
        away = target - 1 - place
        return f"a target is {abs(away)} tokens {'ahead' if away > 0 else 'back'} of its input"
    return "a target is of another place"


def misparted(batch: Batch, ends: NDArray[np.int64]) -> Iterator[str]:
    """Find where the numbers of documents don't change with the documents."""
    if batch.doc is None:
        return
    for row, doc in zip(batch.tokens.numpy(), batch.doc.numpy(), strict=True):
        at = places(row)
        begins = np.isin(at[1:], ends) & (at[1:] == at[:-1] + 1)
        known = (at[1:] >= 0) & (at[:-1] >= 0)
        if (((doc[1:] != doc[:-1]) != begins) & known).any():
            yield "documents are told apart at other places than their ends"


@torch.no_grad()
def masked(pipeline: Pipeline) -> Counter[str]:
    """Check that a row whose targets are masked adds nothing to the loss."""
    model, knobs = pipeline.model(torch.float64), pipeline.knobs()
    source = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, model.shape.vocab, (2, TIME + 1), generator=source)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[1] = IGNORED
    both = pipeline.loss(model, Batch(inputs, targets, valid=TIME), knobs)
    alone = pipeline.loss(model, Batch(inputs[:1], targets[:1], valid=TIME), knobs)
    far = float((both - alone).abs() / alone.abs().clamp(min=1e-30))
    return Counter() if far <= 1e-9 else Counter({"masked targets count": 1})
