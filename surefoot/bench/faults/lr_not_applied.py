"""Lets the matrices learn at a tenth of the planned rate: something else set it."""

from typing import TYPE_CHECKING, Any

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("lr_unplanned",), within=1)


def plant(run: "Run", step: int) -> None:
    """Hand the optimiser another rate than the plan's."""

    def slower(sound: Any, lr: float, momentum: float) -> float:
        return sound(0.1 * lr, momentum)

    spoil.updates(run, step, "matrix", slower)
