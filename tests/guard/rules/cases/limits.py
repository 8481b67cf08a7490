"""Limits of time, disk and money."""

from tests.guard.rules.situations import Case

HOUR = {"step_s": 1.8}  # 2000 steps
SICK = [
    Case("limit_hours", "refuse", changes={"limits.hours": 0.99}, facts=HOUR),
    Case("limit_disk", "refuse", changes={"limits.disk_gib": 0.06}),
    Case("limit_disk", "refuse", changes={"limits.disk_gib": 0.01}),
    Case("limit_disk", "refuse",
         changes={"limits.disk_gib": 0.2, "save.keep": "all", "save.every": 10}),
    Case("limit_cost", "refuse", changes={"limits.cost": 1.59, "limits.price_per_hour": 0.8},
         facts=HOUR | {"world": 2}, said="1.60"),
    Case("limit_cost", "note", changes={"limits.cost": 1.0}),
]  # fmt: skip
HEALTHY = [
    Case("limit_hours", changes={"limits.hours": 1.0}, facts=HOUR),
    Case("limit_hours", facts={"step_s": 1e6}),
    Case("limit_disk", changes={"limits.disk_gib": 1.0}),
    Case("limit_cost", changes={"limits.cost": 1.6, "limits.price_per_hour": 0.8},
         facts=HOUR | {"world": 2}),
    Case("limit_cost"),
]  # fmt: skip
