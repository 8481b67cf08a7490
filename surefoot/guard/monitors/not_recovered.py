"""Sees a loss that does not come back after a raise, a growth or a restart.

Before = the median of the 200 steps before the event (after a restart, of those before the decay if
they stood higher). Told when the level of 50 steps is back; warns if it is not within 1000 steps
(or an epoch), asks for a remedy if it also stands 5 standard errors above. `lr_after_raise`: in the
first 100 steps after a raise the rate is below half its stage's peak (seed 002 printed 2.0e-5 for
2.0e-4). `stuck_after_raise`: the spike fell by less than 2% between steps 10 and 100.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases, robust
from surefoot.guard.absent import Absent
from surefoot.guard.grace import happened
from surefoot.guard.recovery import Recovery, Verdict
from surefoot.recipe.choice import Choice
from surefoot.records import Event, Finding, Record, Remedy, Step

ALSO = {
    "lr_after_raise": "Sees a raise that meets a low rate, at which nothing new can be learnt.",
    "stuck_after_raise": "Sees a loss that stays on the spike of a raise.",
}

EARLY, LATE = 10, 100  # steps after a raise between which its spike must fall
AROUND = 9  # steps whose median stands for a step


class Options(Choice):
    """How soon the loss must be back."""

    kind: str = "not_recovered"
    recover_within: Annotated[int, Field(ge=1)] = 1000
    """Steps in which the loss must be back; an epoch if that is longer"""
    errors: Annotated[float, Field(gt=0)] = 5.0
    """Standard errors above the level before that ask for a remedy"""
    lr_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the stage's peak below which a rate after a raise is a mistake"""
    lr_steps: Annotated[int, Field(ge=1)] = 100
    """Steps after a raise in which the rate is looked at"""
    stuck: Annotated[float, Field(ge=0)] = 0.02
    """Share of the spike that must be gone after 100 steps"""


class Monitor:
    """Judges what a planned event did to the loss."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.facts = facts
        self.recovery = Recovery(max(options.recover_within, phases.epoch_steps(facts)))
        self.absent = Absent("not_recovered", "lr")
        self.raised = 0  # step of the last raise; 0 = none is near
        self.ramp = 0  # a person's ramp of the rate lasts to this step
        self.low = False  # the rate after this raise was told
        self.peak: dict[str, float] = {}  # the highest rate of each role, as used
        self.factor: dict[str, float] = {}  # of remedies, by role; "" = all roles
        self.first: float | None = None  # the spike, at step 10 after the raise
        self.number = 0

    def observe(self, record: Record) -> list[Finding]:
        """Judge the rate at once, the spike after 100 steps, the level until it is back."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        found = self.absent.seen(bool(record.lr))
        for role, used in record.lr.items():
            if used > self.peak.get(role, 0.0):
                self.peak[role] = used
        verdict = self.recovery.add(record)
        if self.raised:
            found += self.rate(record) + self.spike(record)
        if verdict is not None:
            found += self.told(record, verdict)
        return found

    def see(self, record: Record) -> None:
        """Remember a raise, and what lowers the rates lawfully."""
        self.recovery.see(record)
        if happened(record) == "raise":
            self.raised, self.low, self.first = record.step, False, None
            self.number += 1
        if isinstance(record, Event) and "ramp_steps" in record.args:
            self.ramp = record.step + int(record.args["ramp_steps"])
        if isinstance(record, Event | Remedy) and "factor" in record.args:
            role = str(record.args.get("role", ""))
            self.factor[role] = self.factor.get(role, 1.0) * float(record.args["factor"])

    def rate(self, record: Step) -> list[Finding]:
        """Compare the rate that was used after a raise with its stage's peak."""
        if not record.lr or self.low or record.step < self.ramp:
            return []
        if not 0 <= record.step - self.raised < self.options.lr_steps:
            return []
        role = "matrix" if "matrix" in record.lr else next(iter(record.lr))
        used, peak = record.lr[role], self.stage_peak(role)
        # at exactly half it is not below; rounding of the schedule must not decide
        if not peak or used >= self.options.lr_share * peak * (1 - 1e-9):
            return []
        self.low = True
        return [
            Finding(
                id="lr_after_raise",
                severity="act",
                what=f"step {record.step}: lr {role}",
                value=f"{used:.4g}",
                why=f"{record.step - self.raised} steps after a raise it is "
                f"{used / peak:.2g} of its stage's peak {peak:.4g}: new bands can't be learnt at "
                "that rate (002: LR too low, stuck)",
                instead='Write knobs.lr.kind="stages", so that each raise restarts the rate',
                evidence={"used": used, "peak": peak, "limit": self.options.lr_share * peak},
                since=self.raised,
                episode=self.number,
            )
        ]

    def stage_peak(self, role: str) -> float:
        """Give a role's peak as planned, or the highest rate that was seen of it."""
        recipe = self.facts.get("recipe")
        scaled = self.factor.get("", 1.0) * self.factor.get(role, 1.0)
        if recipe is None or role not in recipe.optim:
            return self.peak.get(role, 0.0) * min(1.0, scaled)
        mult = getattr(recipe.knobs.get("lr"), "mult", None) or [1.0]
        return recipe.optim[role].lr * min(mult) * min(1.0, scaled)

    def spike(self, record: Step) -> list[Finding]:
        """Compare the spike with what is left of it after 100 steps."""
        recent, after = self.recovery.recent, record.step - self.raised
        if after == EARLY and len(recent) >= AROUND:
            self.first = robust.median(recent[-AROUND:])
        if after < LATE or len(recent) < AROUND:
            return []
        first, now = self.first, robust.median(recent[-AROUND:])
        before, se = self.recovery.before, self.recovery.se
        kicked = self.recovery.kind == "raise" and self.recovery.since == self.raised
        self.raised, self.first = 0, None
        if first is None or not kicked:
            return []
        least = self.options.stuck * first
        if first - before <= max(least, 5 * se) or first - now >= least:
            return []
        return [self.stuck(record, first, now)]

    def stuck(self, record: Step, first: float, now: float) -> Finding:
        """Say that a spike stays."""
        return Finding(
            id="stuck_after_raise",
            severity="warn",
            what=f"step {record.step}: loss",
            value=f"{now:.4g} nats",
            why=f"{LATE} steps after a raise the spike of {first:.4g} has fallen by "
            f"{100 * (first - now) / first:.1f}%, less than {100 * self.options.stuck:g}% (002)",
            instead="Compare the learning rate with its plan: surefoot show RECIPE --plan",
            evidence={"spike": first, "loss": now, "share": self.options.stuck, "window": LATE},
            since=record.step - LATE,
            episode=self.number,
        )

    def told(self, record: Step, verdict: Verdict) -> list[Finding]:
        """Turn a verdict into a finding; only a raise's recovery is worth a line."""
        numbers = {
            "before": verdict.before, "level": verdict.level, "se": verdict.se,
            "ce_peak": verdict.peak if math.isfinite(verdict.peak) else verdict.level,
            "stable": self.recovery.stable, "steps_to_recover": verdict.took,
        }  # fmt: skip
        words = {"raise": "a raise", "growth": "a growth", "restart": "a restart of the rate"}
        what, said = f"step {record.step}: loss", words[verdict.kind]
        if verdict.recovered:
            return [
                Finding(
                    id="not_recovered",
                    severity="note",
                    what=what,
                    value=f"{verdict.level:.4g} nats",
                    why=f"it is back at its level before {said} at step {verdict.since}, "
                    f"{verdict.before:.4g}, after {verdict.took} steps",
                    instead="Nothing: it has recovered",
                    evidence=numbers,
                    since=verdict.since,
                    episode=self.number,
                )
            ] if verdict.kind == "raise" else []  # fmt: skip
        act = verdict.level > verdict.before + self.options.errors * verdict.se
        return [
            Finding(
                id="not_recovered",
                severity="act" if act and self.fair(verdict) else "warn",
                what=what,
                value=f"{verdict.level:.4g} nats",
                why=f"{verdict.took} steps after {said} it still stands "
                f"{verdict.level - verdict.before:.3g} above its level before, "
                f"{verdict.before:.4g} (standard error {verdict.se:.2g})",
                instead="Go back to the checkpoint before it, and take a smaller stair",
                evidence=numbers,
                since=verdict.since,
                episode=self.number,
            )
        ]

    def fair(self, verdict: Verdict) -> bool:
        """Say whether the level before can be asked for: a restart gives up what a decay bought."""
        return verdict.kind != "restart" or self.recovery.stable is not None

    def state(self) -> dict[str, Any]:
        """Give the level before, and the rates."""
        return {
            "recovery": self.recovery.state(),
            "absent": self.absent.state(),
            "raised": self.raised,
            "ramp": self.ramp,
            "low": self.low,
            "peak": dict(self.peak),
            "factor": dict(self.factor),
            "first": self.first,
            "number": self.number,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.recovery.restore(state["recovery"])
        self.absent.restore(state["absent"])
        self.raised, self.ramp = int(state["raised"]), int(state["ramp"])
        self.low, self.first = bool(state["low"]), state["first"]
        self.peak, self.factor = dict(state["peak"]), dict(state["factor"])
        self.number = int(state["number"])
