"""Disk: checkpoints that don't fit."""

from tests.guard.rules.situations import Case

FREE = {"disk_free_gib": 2.3}
SICK = [
    Case("disk", "refuse", facts=FREE, changes={"save.keep": 20}),
    Case("disk", "refuse", facts=FREE, changes={"save.keep": "all", "save.every": 50}),
    Case(
        "disk", "refuse", facts={"disk_free_gib": 1.0}, said="--run",
        mend=lambda case, finding: case.with_facts(disk_free_gib=100.0),
    ),
]  # fmt: skip
HEALTHY = [Case("disk"), Case("disk", facts={"disk_free_gib": 2.4})]
