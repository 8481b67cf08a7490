"""Makes every loss from a step on not a number: nothing can be learnt any more."""

from typing import TYPE_CHECKING

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("nonfinite",), within=8)


def plant(run: "Run", step: int) -> None:
    """Spoil the loss for good."""
    spoil.loss(run, step, spoil.EVER, lambda loss: loss * float("nan"))
