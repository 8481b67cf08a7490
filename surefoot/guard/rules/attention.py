"""Refuses a long run whose attention is not fused (004 ran a day with flash off)."""

from collections.abc import Iterator

from surefoot.guard.ruling import found, long_because, mixers
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"long_no_flash": ("refuse", "a long run whose attention is plain or falls back", "004")}
ATTENDING = ("full", "windowed", "nsa")


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look for a mixer that attends, and how."""
    attending = [o.kind for o in mixers(recipe).values() if o.kind in ATTENDING]
    long = long_because(recipe, situation)
    if not attending or not long:
        return
    asked, failed = recipe.model.attention, situation.fused_failed
    what, instead = "model.attention", 'Write model.attention="fused"'
    if asked == "plain":
        why = (
            f"plain formulas hold a score for each pair of tokens, and this run is long ({long}); "
            "they are for debugging (004)"
        )
        yield found("long_no_flash", "refuse", what, '"plain"', why, instead)
    elif failed:
        why = f"fused attention fails here ({failed}), and this run is long ({long}) (004)"
        instead = f"{instead} on a build of torch that has it for this device"
        yield found("long_no_flash", "refuse", what, f'"{asked}"', why, instead)
