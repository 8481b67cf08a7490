"""Attention: plain formulas in a long run, and a fused kernel that fails."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda"}
LONG = {"train.steps": 5000}
SICK = [
    Case("long_no_flash", "refuse", changes=LONG | {"model.attention": "plain"}, facts=GPU),
    Case("long_no_flash", "refuse", changes={"model.attention": "plain"}, facts={"step_s": 3.6}),
    Case(
        "long_no_flash", "refuse", changes=LONG, facts=GPU | {"fused_failed": "no kernel"},
        said="no kernel",
        mend=lambda case, finding: case.with_facts(fused_failed=""),
    ),
]  # fmt: skip
HEALTHY = [
    Case("long_no_flash", changes={"train.steps": 4999, "model.attention": "plain"}, facts=GPU),
    Case("long_no_flash", changes={"model.attention": "plain"}, facts={"step_s": 3.599}),
    Case("long_no_flash", changes=LONG, facts=GPU),
    Case(
        "long_no_flash",
        changes=LONG | {"model.attention": "plain", "model.mixers.L": {"kind": "haar"}},
        facts=GPU,
    ),
]
