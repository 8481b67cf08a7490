"""Warm-up, and rates to train from scratch with."""

from tests.guard.rules.situations import Case

SICK = [
    Case("warmup_share", "warn", changes={"knobs.lr.warmup": 0}),
    Case("warmup_share", "warn", changes={"knobs.lr.kind": "constant"}),
    Case("warmup_share", "note", changes={"knobs.lr.warmup": 9}),
    Case("warmup_share", "note", changes={"knobs.lr.warmup": 201}),
    Case("lr_scratch", "warn", changes={"optim.embedding.lr": 2e-5}),
    Case("lr_scratch", "warn", changes={"optim.embedding.lr": 2e-5, "optim.scalar.lr": 9e-5},
         said="optim.embedding.lr optim.scalar.lr"),
]  # fmt: skip
HEALTHY = [
    Case("warmup_share", changes={"knobs.lr.warmup": 10}),
    Case("warmup_share", changes={"knobs.lr.warmup": 200}),
    Case("warmup_share", changes={"train.steps": 50}),
    Case("warmup_share"),
    Case("lr_scratch", changes={"optim.embedding.lr": 1e-4}),
    Case("lr_scratch", changes={"optim.embedding.lr": 0.0}),
    Case("lr_scratch", changes={"optim.embedding.lr": 2e-5}, facts={"resumed_step": 100}),
    Case("lr_scratch", changes={"optim.embedding.lr": 2e-5}, facts={"begun_from": "runs/a"}),
]
