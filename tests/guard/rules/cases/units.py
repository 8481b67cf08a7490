"""Units: a limit that is no device's."""

from tests.guard.rules.situations import Case

SICK = [
    Case("units", "refuse", changes={"limits.mem_gib": 21000.0}, facts={"device_gib": 80.0},
         said="20.5 GiB"),
    Case("units", "refuse", changes={"limits.mem_gib": 21000.0}, facts={"device": "cuda"}),
    Case("units", "refuse", changes={"limits.mem_gb": 90.0}, facts={"device_gib": 80.0}),
]  # fmt: skip
HEALTHY = [
    Case("units", changes={"limits.mem_gib": 80.0}, facts={"device_gib": 80.0}),
    Case("units", changes={"limits.mem_gb": 85.8}, facts={"device_gib": 80.0}),
    Case("units"),
]
