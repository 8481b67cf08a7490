"""Refuses a long run in an arithmetic that its device is slow at (001, 004)."""

from collections.abc import Iterator

from surefoot.guard.ruling import found, long_because
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "long_fp32": ("refuse", "a long run in fp32 on a GPU that has bf16 units", "004, 001"),
    "cpu_bf16": ("warn", "bf16 on a CPU without bf16 units: about 5x slower than fp32", ""),
}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Hold the precision against the device."""
    precision = recipe.train.precision
    long = long_because(recipe, situation)
    if long and precision == "fp32" and situation.on_gpu and situation.bf16:
        why = (
            f"a long run ({long}) in fp32 on bf16 units takes several times as long and twice the "
            "memory of bf16 autocast over fp32 weights (004)"
        )
        instead = 'Write train.precision="bf16"'
        yield found("long_fp32", "refuse", "train.precision", '"fp32"', why, instead)
    if precision in ("bf16", "bf16_pure") and not situation.on_gpu and not situation.bf16:
        why = "this CPU has no bf16 units: a product of matrices takes about 5x as long as in fp32"
        instead = 'Write train.precision="fp32"'
        yield found("cpu_bf16", "warn", "train.precision", f'"{precision}"', why, instead)
