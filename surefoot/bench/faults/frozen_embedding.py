"""Stops moving the embedding from a step on: it has fallen out of the optimiser."""

from typing import TYPE_CHECKING, Any

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("frozen_group",), within=60)


def plant(run: "Run", step: int) -> None:
    """Leave its weights where they are, and tell the planned rate."""

    def still(sound: Any, lr: float, momentum: float) -> float:  # noqa: ARG001 (handed to all)
        return lr

    spoil.updates(run, step, "embedding", still)
