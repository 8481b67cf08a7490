"""Multiplies every learning rate by 30 for 20 steps: the loss leaves its level."""

from typing import Any

from surefoot.bench.watched.fault import Fault

FAULT = Fault(finds=("loss_gap", "gnorm_escalation"), within=24, sudden=True, curable=True)
STEPS = 20


def bend(step: int) -> dict[str, Any]:
    """Give what a drill's event does to the plan."""
    return {"factor": 30.0, "ramp": 1, "until": step + STEPS - 1}
