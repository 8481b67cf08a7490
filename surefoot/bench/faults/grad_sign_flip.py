"""Turns every gradient's sign from a step on: the run climbs instead of descending."""

from typing import TYPE_CHECKING

from torch import Tensor

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap", "nonfinite"), within=32, sudden=True, curable=True)


def plant(run: "Run", step: int) -> None:
    """Negate them, until the run is taken back."""

    def turned(found: list[Tensor]) -> None:
        for gradient in found:
            gradient.neg_()

    spoil.gradients(run, step, spoil.EVER, turned)
