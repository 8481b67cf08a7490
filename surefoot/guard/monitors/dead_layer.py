"""Sees layers that have stopped: no gradient, or nothing that they write.

Over 5 probes: a layer's gradient norm < 1e-6 while others learn, or < 1e-4 of the median's,
or what it writes < 1e-4 of the stream. 20 probes in a row ask for a remedy (seed 000).
"""

from collections.abc import Mapping
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field

from surefoot.guard.episode import Episode
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step


class Options(Choice):
    """What counts as dead, and for how long."""

    kind: str = "dead_layer"
    absolute: Annotated[float, Field(gt=0)] = 1e-6
    """Gradient norm of a layer that learns nothing"""
    relative: Annotated[float, Field(gt=0)] = 1e-4
    """The same as a share of the median layer's"""
    written: Annotated[float, Field(gt=0)] = 1e-4
    """Size of what a layer writes, as a share of the stream"""
    probes: Annotated[int, Field(ge=1)] = 5
    """Probes in a row that warn"""
    act_probes: Annotated[int, Field(ge=1)] = 20
    """Probes in a row that ask for a remedy"""
    grace: Annotated[int, Field(ge=0)] = 100
    """First steps that are let be: outputs begin at zero"""
    rule: Literal["layers", "seed"] = "layers"
    """seed: any norm below the absolute limit, as 000 wrote it"""


class Monitor:
    """Counts probes in a row for each layer."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.rows: list[int] = []
        self.episode = Episode(quiet=20)  # probes, not steps

    def observe(self, record: Record) -> list[Finding]:
        """Look at each layer of a probe step."""
        norms = record.layer_grad_norm if isinstance(record, Step) else None
        if not isinstance(record, Step) or norms is None or record.step <= self.options.grace:
            return []
        dead = self.dead(norms, record.layer_out_rms)
        self.rows = [
            row + 1 if d else 0 for row, d in zip(self.padded(len(dead)), dead, strict=True)
        ]
        worst = max(self.rows, default=0)
        level = (worst >= self.options.probes) + (worst >= self.options.act_probes)
        if not self.episode.rises(level):
            return []
        layers = [i for i, row in enumerate(self.rows) if row >= self.options.probes]
        return [
            Finding(
                id="dead_layer",
                severity="act" if level > 1 else "warn",
                what=f"layer {', '.join(map(str, layers))} at step {record.step}",
                value=f"gradient norm {min(norms):.1e}",
                why=f"for {worst} probes these layers learn or write next to nothing (the median "
                f"layer's norm is {median(norms):.1e})",
                instead='Give the top layers longer windows: knobs.window.long_layers="top:2"',
                evidence={"layers": layers, "layer_grad_norm": norms, "probes": worst},
                since=record.step,
                episode=self.episode.number,
            )
        ]

    def dead(self, norms: list[float], written: list[float] | None) -> list[bool]:
        """Judge each layer; all of them small together is a loss near 0, not death."""
        options = self.options
        if options.rule == "seed":
            return [norm < options.absolute for norm in norms]
        typical = median(norms)
        quiet = [value < options.written for value in written or [1.0] * len(norms)]
        if typical < options.absolute:
            return [False] * len(norms)
        low = max(options.absolute, options.relative * typical)
        return [norm < low or silent for norm, silent in zip(norms, quiet, strict=False)]

    def padded(self, layers: int) -> list[int]:
        """Give the counts, zero for layers that were not seen before."""
        return (self.rows + [0] * layers)[:layers]

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {"rows": self.rows, "episode": self.episode.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.rows = list(state["rows"])
        self.episode.restore(state["episode"])
