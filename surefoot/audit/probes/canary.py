"""Trains a narrow copy on tokens that nobody can predict, through the real builder and loss.

Four symbols, drawn evenly and independently: for whatever is causal E[ce] >= ln 4 at every step.
Leak iff the mean of 8 steps in a row, of 150, is below ln 4 - max(0.02, 6 SE). It tells of labels
and losses; a model that reads ahead may well not learn to in so few steps.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean, stdev

import numpy as np

from surefoot.audit.case import Case
from surefoot.audit.learning import Scored, first_values, learnt
from surefoot.audit.measure import Measure
from surefoot.audit.pipeline import Pipeline
from surefoot.data.tokenizers.ids import Tokenizer
from surefoot.model.batch import Batch

ORDER = 7
EACH = False  # condition: it begins with weights of its own
SYMBOLS = 4
FLOOR = math.log(SYMBOLS)
SHORT = 8
TOKENS = 1000  # a step
STEPS, LAST = 150, 8


def probe(case: Case) -> Iterator[Measure]:
    """Measure how far below the floor a loss gets."""
    assert case.pipeline is not None, "the canary needs a recipe's batches and loss"
    block = max((edge for edge in case.subject.edges if edge <= 128), default=0)
    lengths = [SHORT, block + 3] if case.full and block > SHORT else [SHORT]
    for time in lengths:
        below, step = fall(case.pipeline, time)
        yield Measure(
            probe="canary",
            value=below,
            tolerance=0.0,
            said=f"below ln {SYMBOLS} at step {step}, T = {time}" if below > 0 else "",
        )


def fall(pipeline: Pipeline, time: int) -> tuple[float, int]:
    """Train, and give by how much the floor's margin is broken, and when."""
    rows = max(1, TOKENS // time)
    ids = Tokenizer(SYMBOLS + 1, eos=0 if pipeline.recipe.data.boundaries == "mask" else None)
    needed = (STEPS + 2) * rows * (time + 1)
    tokens = np.random.default_rng(11).integers(1, SYMBOLS + 1, needed)
    ends = np.arange(time + 1, needed + 1, time + 1)
    model, tail = pipeline.model(), list[float]()
    with pipeline.dataset(tokens, ends, ids, rows, time) as dataset:
        batches = (whole(dataset.batch(step)) for step in range(1, STEPS + 1))
        scored, knobs = Scored(model, pipeline.loss), pipeline.knobs()
        # the loss is that of tokens not yet learnt from; what heads add to ce only raises it
        for step, done in enumerate(learnt(scored, batches, knobs, first_values(model)), 1):
            tail = [*tail, done.loss][-LAST:]
            if len(tail) == LAST and (below := FLOOR - margin(tail) - mean(tail)) > 0:
                return below, step
    return 0.0, STEPS


def whole(batch: Batch) -> Batch:
    """Drop documents where each row is one: it says the same, and attention is quicker without."""
    one = batch.doc is not None and bool((batch.doc == batch.doc[:, :1]).all())
    return replace(batch, doc=None, positions=None) if one else batch


def margin(losses: list[float]) -> float:
    """Give what chance alone may take a mean below the floor by."""
    return max(0.02, 6 * stdev(losses) / math.sqrt(len(losses)))
