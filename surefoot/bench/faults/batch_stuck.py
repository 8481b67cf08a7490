"""Gives the same batch at every step from one on: the reader is stuck."""

from typing import TYPE_CHECKING

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("data_stuck",), within=4)


def plant(run: "Run", step: int) -> None:
    """Keep the first batch and give it again."""
    kept: list[Batch] = []

    def same(batch: Batch, number: int) -> Batch:  # noqa: ARG001 (the contract of a change)
        kept.append(batch)
        return kept[0]

    spoil.batches(run, step, spoil.EVER, same)
