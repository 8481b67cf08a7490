"""Decay: short, or none."""

from tests.guard.rules.situations import Case

SICK = [
    Case("wsd_decay_short", "warn", changes={"knobs.lr.decay_share": 0.19}),
    Case("wsd_decay_short", "warn", changes={"knobs.lr.decay_share": 0.0, "train.steps": 999}),
    Case("wsd_decay_short", "refuse", changes={"knobs.lr.decay_share": 0.0, "train.steps": 1000}),
]
HEALTHY = [
    Case("wsd_decay_short", changes={"knobs.lr.decay_share": 0.2}),
    Case("wsd_decay_short", changes={"knobs.lr.decay_share": 0.2 * (1 - 1e-10)}),
    Case("wsd_decay_short", changes={"knobs.lr": {"kind": "constant"}}),
]
