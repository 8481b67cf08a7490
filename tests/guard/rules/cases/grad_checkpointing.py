"""Gradient checkpointing: where memory is short, or where it is asked for."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda", "mem_free_gib": 80.0}
LONG = {"train.steps": 5000}
SICK = [
    Case("long_no_grad_ckpt", "note", changes=LONG, facts=GPU),
    Case("long_no_grad_ckpt", "refuse", changes=LONG | {"guard.strict": True}, facts=GPU),
    Case("long_no_grad_ckpt", "refuse", "windowed", facts=GPU | {"mem_free_gib": 16.0}),
    Case("long_no_grad_ckpt", "refuse", "windowed", changes={"limits.mem_gib": 16.0},
         facts={"device": "cuda", "mem_free_gib": None}),
]  # fmt: skip
HEALTHY = [
    Case("long_no_grad_ckpt", changes={"train.steps": 4999}, facts=GPU),
    Case("long_no_grad_ckpt", changes=LONG | {"train.grad_checkpointing": True}, facts=GPU),
]
