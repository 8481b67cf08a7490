"""Makes the loss of three steps not a number: their updates are left out."""

from typing import TYPE_CHECKING

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("nonfinite",), within=3, curable=True)
STEPS = 3


def plant(run: "Run", step: int) -> None:
    """Spoil the loss from a step on."""
    spoil.loss(run, step, STEPS, lambda loss: loss * float("nan"))
