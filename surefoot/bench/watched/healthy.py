"""Healthy runs, most with something planned in them that a poor guard takes for trouble."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import ONSET
from surefoot.plan.plan import Plan
from surefoot.records import Event

if TYPE_CHECKING:
    from surefoot.run.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """One kind: keys of the recipe, what happens on the way, and whether it is gone on with."""

    about: str
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    slower: float = 1.0  # share of the usual rates
    happens: Callable[["Run"], None] | None = None
    half: bool = False  # stopped half way, and gone on with by another process
    extended: str = ""  # planned for half the steps, then made longer in this way


def one_nan(run: "Run") -> None:
    """Make one step's loss not a number."""
    spoil.loss(run, ONSET, 1, lambda loss: loss * float("nan"))


def three_times(run: "Run") -> None:
    """Multiply every rate by 3 without announcing it; small rates bear that."""
    bend = {"kind": "lr_x3", "factor": 3.0, "ramp": 1}
    run.told(Event(name="drill", step=ONSET, args=bend))
    run.plan = Plan(run.recipe, run.events)


KINDS: Mapping[str, Healthy] = {
    "plain": Healthy(about="nothing happens; the rate decays over the last fifth"),
    "long_decay": Healthy(about="half of the run is decay", changes={"knobs.lr.decay_share": 0.5}),
    "cosine": Healthy(about="a cosine", changes={"knobs.lr.kind": "cosine"}),
    "warmed_up": Healthy(
        about="200 steps of warm-up, then a linear fall",
        changes={"knobs.lr.kind": "linear", "knobs.lr.warmup": 200},
    ),
    "window_growth": Healthy(
        about="attention windows grow in stairs from 8 to 32 tokens",
        changes={
            "model.mixers.L.kind": "windowed",
            "model.mixers.L.window": {"knob": "window"},
            "knobs.window": {"kind": "windows", "start": 8, "end": 32, "round": 8},
        },
    ),
    "haar": Healthy(about="another mixer", changes={"model.mixers.L.kind": "haar"}),
    "small_batch": Healthy(
        about="a quarter of the rows: noisy", changes={"train.batch": 2}, slower=1 / 3
    ),
    "in_order": Healthy(
        about="windows in the order of the files: what belongs together comes together",
        changes={"data.order": "sequential"},
    ),
    "accumulated": Healthy(
        about="two micro-batches a step", changes={"train.batch": 4, "train.accumulate": 2}
    ),
    "one_nan": Healthy(about="one step is left out: its loss is not a number", happens=one_nan),
    "lr_x3": Healthy(
        about="rates that were low are multiplied by 3", slower=1 / 3, happens=three_times
    ),
    "resumed": Healthy(about="stopped half way, and gone on with", half=True),
    "branched": Healthy(
        about="finished, then made twice as long from before its decay", extended="branch"
    ),
    "ramped": Healthy(
        about="finished, then made twice as long over a ramp of the rate", extended="ramp"
    ),
}
