"""Multiplies every learning rate by 30 for 20 steps: the loss leaves its level."""

from typing import Any

STEPS = 20


def bend(step: int) -> dict[str, Any]:
    """Give what a drill's event does to the plan."""
    return {"factor": 30.0, "ramp": 1, "until": step + STEPS - 1}
