"""A toy that would run for long: each cause by itself, and what is large enough."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda"}
LARGE = {"model.dim": 256, "model.layers": 8, "train.steps": 5000, "model.ffn.width": 0}
SICK = [
    Case(
        "toy_size", "refuse", changes={"train.steps": 5000}, facts=GPU, said="model.dim = 128 < 256"
    ),
    Case("toy_size", "refuse", facts={"step_s": 3.6}, said="2.0 h"),
    Case("toy_size", "refuse", changes=LARGE | {"purpose": "toy"}, facts=GPU, said="purpose"),
    Case("toy_size", "refuse", changes=LARGE | {"train.seq_len": 255}, facts=GPU, said="seq_len"),
    Case("toy_size", "refuse", changes=LARGE | {"model.layers": 4}, facts=GPU, said="5,000,000"),
]
HEALTHY = [
    Case("toy_size"),
    Case("toy_size", changes={"train.steps": 4999}, facts=GPU),
    Case("toy_size", changes=LARGE, facts=GPU),
]
