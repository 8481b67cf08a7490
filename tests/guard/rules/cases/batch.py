"""Batch: a product that isn't, and several long rows at a time."""

from tests.guard.rules.situations import Case

LONG = {"train.seq_len": 16384}
SICK = [
    Case("batch_product", "refuse", changes={"train.effective_batch": 16}, said="= 8"),
    Case("batch_product", "refuse", changes={"train.effective_batch": 8}, facts={"world": 2}),
    Case("batch_ladder", "note", "windowed", changes=LONG | {"train.batch": 2}),
]
HEALTHY = [
    Case("batch_product", changes={"train.effective_batch": 8}),
    Case("batch_product", changes={"train.effective_batch": 16}, facts={"world": 2}),
    Case("batch_product"),
    Case("batch_ladder", recipe="windowed"),
    Case("batch_ladder", changes={"train.batch": 2, "train.seq_len": 16383}),
]
