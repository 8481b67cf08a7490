"""Holds rates, window and momentum against the ranges that 000 found to be safe.

They were found on one model of about GPT-2 small's size with Muon on matrices and Adam elsewhere:
they count where the optimiser is the same, and from dim 512 to 1280; elsewhere one level lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surefoot.guard.ruling import NEAR, found, mem_limit_gib
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.recipe.span import Span
from surefoot.records import Finding, Severity

BOOK = {
    "range_matrix_lr": ("refuse, warn, note", "optim.matrix.lr outside .025 to .030", "000"),
    "range_head_lr": ("refuse, warn, note", "optim.head.lr outside 1/416 to 1/320", "000"),
    "range_embedding_lr": ("refuse, warn, note", "optim.embedding.lr outside .20 to .24", "000"),
    "range_value_embedding_lr": (
        "refuse, warn, note",
        "optim.value_embedding.lr outside .20 to .24",
        "000",
    ),
    "range_scalar_lr": ("refuse, warn, note", "optim.scalar.lr outside .010 to .015", "000"),
    "range_window": ("refuse, warn, note", "knobs.window.end outside 1536 to 2048 tokens", "000"),
    "range_momentum_warmup": (
        "refuse, warn, note",
        "knobs.momentum.steps outside 200 to 500",
        "000",
    ),
}
SMALLEST, LARGEST = 512, 1280
STEP = 128
LOWER: dict[str, Severity] = {"refuse": "warn", "warn": "note"}


@dataclass(frozen=True, slots=True)
class Range:
    """Where a value is safe, and from where on it was seen to fail."""

    low: float
    high: float
    critical: float  # beyond this end; below `low` for a value that may be too small
    harm: str
    worst: Severity = "refuse"

    def level(self, value: float) -> Severity | None:
        """Judge a value: silent, note, warn, or worse beyond the critical end."""
        if self.low * (1 - NEAR) <= value <= self.high * (1 + NEAR):
            return None
        upward = self.critical > self.high
        harmful = value > self.high if upward else value < self.low
        if not harmful:
            return "note"
        limit = self.critical * (1 + NEAR if upward else 1 - NEAR)
        return self.worst if (value > limit if upward else value < limit) else "warn"

    def nearest(self, value: float) -> float:
        """Give the safe value next to one that is not."""
        return self.high if value > self.high else self.low


RATES = {
    "matrix": ("muon", Range(0.025, 0.030, 0.035, "unstable")),
    "head": ("adam", Range(1 / 416, 1 / 320, 1 / 256, "unstable")),
    "embedding": ("adam", Range(0.20, 0.24, 0.25, "risky")),
    "value_embedding": ("adam", Range(0.20, 0.24, 0.25, "risky")),
    "scalar": ("adam", Range(0.010, 0.015, 0.020, "unstable")),
}
MOMENTUM = Range(200, 500, 150, "unstable")


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare each value that 000 gave a range for."""
    for role, (kind, safe) in RATES.items():
        options: Any = recipe.optim.get(role)
        if options is not None and options.kind == kind:
            yield from told(recipe, f"range_{role}_lr", f"optim.{role}.lr", options.lr, safe)
    momentum: Any = recipe.knobs["momentum"]
    if momentum.kind == "ramp" and recipe.optim["matrix"].kind == "muon":
        steps = momentum.length(Span(steps=recipe.train.steps, layers=recipe.model.layers))
        if momentum.start != momentum.end:
            name, key = "range_momentum_warmup", "knobs.momentum.steps"
            yield from told(recipe, name, key, steps, MOMENTUM)
    window: Any = recipe.knobs.get("window")
    if window is not None and window.kind == "windows":
        yield from windows(recipe, situation, window.end)


def windows(recipe: Recipe, situation: Situation, end: int) -> Iterator[Finding]:
    """Judge the last window; a large one is refused where memory fails too."""
    fails = situation.forecast.mem_gib > mem_limit_gib(recipe, situation)[0]
    safe = Range(1536, 2048, 2560, "out of memory", "refuse" if fails else "warn")
    key, seq_len = "knobs.window.end", recipe.train.seq_len
    whole = max(STEP, seq_len // STEP * STEP)  # the last window that a row lets it reach
    if end != whole or end > safe.high:
        yield from told(recipe, "range_window", key, end, safe)
    if seq_len < end:
        why = f"the window never reaches its end, since train.seq_len = {seq_len} (000)"
        yield found("range_window", "note", key, end, why, f"Write {key}={whole}")


def told(recipe: Recipe, rule: str, key: str, value: float, safe: Range) -> Iterator[Finding]:
    """Say where a value lies outside its range, one level lower for a model of another size."""
    level, dim = safe.level(value), recipe.model.dim
    where = ""
    if level is not None and not SMALLEST <= dim <= LARGEST:
        level = LOWER.get(level)
        where = f"; dim = {dim} is outside the {SMALLEST} to {LARGEST} that this was found for"
    if level is None:
        return
    low, high = f"{safe.low:.4g}", f"{safe.high:.4g}"
    side = ">" if safe.critical > safe.high else "<"
    why = f"safe is {low} to {high}, {side} {safe.critical:.4g} was {safe.harm} (000){where}"
    best = f"{safe.nearest(value):.6g}"
    yield found(rule, level, key, value, why, f"Write {key}={best}")
