"""Causality: a leak that the audit found."""

from tests.guard.rules.situations import Case

SICK = [
    Case(
        "causality", "refuse", facts={"leaks": ("layer 1 · mixer (x) reads later tokens",)},
        said="layer 1", mend=lambda case, finding: case.with_facts(leaks=()),
    )
]  # fmt: skip
HEALTHY = [Case("causality"), Case("causality", facts={"leaks": None})]
