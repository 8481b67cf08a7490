"""A resume whose rate jumps."""

from tests.guard.rules.situations import Case

LAST = {"lr_last": {"matrix": 0.0012}, "resumed_step": 10000, "plan_changed": True}


def ramped(case, finding):
    return case.with_facts(lr_next=case.facts["lr_last"])


SICK = [
    Case("lr_jump", "refuse", facts=LAST | {"lr_next": {"matrix": 0.012}}, said="x10.0",
         mend=ramped),
    Case("lr_jump", "warn", facts=LAST | {"lr_next": {"matrix": 0.0018}}, mend=ramped),
]  # fmt: skip
HEALTHY = [
    Case("lr_jump", facts=LAST | {"lr_next": {"matrix": 0.00132}}),
    Case("lr_jump", facts=LAST | {"lr_next": {"matrix": 0.012}, "plan_changed": False}),
    Case("lr_jump"),
]
