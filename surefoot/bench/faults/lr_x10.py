"""Multiplies every learning rate by 10 and leaves it there: the loss drifts up and stays."""

from typing import Any

from surefoot.bench.watched.fault import Fault

FAULT = Fault(finds=("loss_gap", "loss_drift"), within=64, sudden=True, curable=True)


def bend(step: int) -> dict[str, Any]:  # noqa: ARG001 (the contract of a fault)
    """Give what a drill's event does to the plan."""
    return {"factor": 10.0, "ramp": 1}
