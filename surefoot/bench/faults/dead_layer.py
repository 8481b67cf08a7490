"""Shuts the gate of the middle layer from a step on: it writes nothing and learns nothing."""

from typing import TYPE_CHECKING, Any

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("dead_layer", "loss_gap"), within=64)


def plant(run: "Run", step: int) -> None:
    """Multiply what the layer writes by zero."""
    layers: Any = run.learner.model.layers
    now = spoil.due(run, step)

    def shut(module: Any, given: Any, out: Any) -> Any:  # noqa: ARG001 (a hook's arguments)
        return given[0] + 0.0 * (out - given[0]) if now() else out

    layers[len(layers) // 2].register_forward_hook(shut)
