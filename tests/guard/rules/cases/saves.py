"""Saves: none, or few."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda"}
NONE = {"save.every": 0}
SICK = [
    Case("save_every", "refuse", changes=NONE | {"train.steps": 5000}, said="5000 steps"),
    Case("save_every", "refuse", changes=NONE, facts={"step_s": 3.6}, said="save.every=500"),
    Case("save_every", "refuse", changes=NONE | {"train.steps": 50000}, facts=GPU),
    Case("save_sparse", "warn", changes={"save.every": 1000}, facts={"step_s": 3.61}),
    Case("save_sparse", "warn", changes={"save.every": 501, "train.steps": 5000}, facts=GPU),
    Case("save_sparse", "warn", changes=NONE, facts={"step_s": 1.81}),
]
HEALTHY = [
    Case("save_every", changes=NONE | {"train.steps": 4999}),
    Case("save_every", changes={"save.every": 5000, "train.steps": 50000}, facts=GPU),
    Case("save_sparse", changes={"save.every": 200}, facts={"step_s": 3.6}),
    Case("save_sparse", changes={"save.every": 500, "train.steps": 5000}, facts=GPU),
    Case("save_sparse", changes=NONE, facts={"step_s": 1.8}),
]
