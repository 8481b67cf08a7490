"""Muon's share of a step."""

from tests.guard.rules.situations import Case

SICK = [
    Case("muon_small_batch", "note", changes={"train.batch": 2}),
    Case("muon_small_batch", "warn", changes={"train.batch": 1, "train.seq_len": 128}),
]
HEALTHY = [
    Case("muon_small_batch"),
    Case("muon_small_batch", changes={"train.batch": 1, "optim.matrix.kind": "adam"}),
]
