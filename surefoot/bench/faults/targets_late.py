"""Shifts the targets by one more place from a step on: an off-by-one in the data code."""

from dataclasses import replace
from typing import TYPE_CHECKING

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap",), within=16, sudden=True, curable=True)


def plant(run: "Run", step: int) -> None:
    """Shift them, until the run is taken back."""
    spoil.batches(run, step, spoil.EVER, later)


def later(batch: Batch, number: int) -> Batch:  # noqa: ARG001 (the contract of a change)
    """Give each position the target of the next one."""
    return replace(batch, targets=batch.targets.roll(-1, dims=1))
