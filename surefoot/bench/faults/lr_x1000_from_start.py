"""Trains with a thousand times the learning rate from the first step: nothing is learnt."""

from typing import Any

from surefoot.bench.watched.fault import Fault

# With a hundred times the rate Muon and AdamW still come to 2.4 nats, under the entropy of single
# bytes: a poor run, but none that is sick by its own journal.
FAULT = Fault(
    finds=("early_stuck", "early_oscillation", "logit_saturation", "loss_gap"),
    within=400,
    onset=1,
)


def bend(step: int) -> dict[str, Any]:  # noqa: ARG001 (the contract of a fault)
    """Give what a drill's event does to the plan."""
    return {"factor": 1000.0, "ramp": 1}
