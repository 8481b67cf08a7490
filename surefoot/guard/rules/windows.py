"""Notes windows that a GPU's kernels can't cut evenly (000's windows are multiples of 128)."""

from collections.abc import Iterator
from typing import Any

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"window_step": ("note", "a window that is no multiple of 128 tokens, on a GPU", "000")}
STEP = 128


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look at each end of the window's way."""
    window: Any = recipe.knobs.get("window")
    if not situation.on_gpu or window is None or window.kind != "windows":
        return
    for name in ("start", "end", "round"):
        value = getattr(window, name)
        if value % STEP:
            # both ends move up, and a stair goes into what lies between them
            whole = {n: -(-getattr(window, n) // STEP) * STEP for n in ("start", "end", "round")}
            literals = " ".join(f"knobs.window.{n}={v}" for n, v in whole.items())
            why = f"kernels work on tiles of {STEP} tokens, and the rest of a tile is wasted (000)"
            yield found("window_step", "note", f"knobs.window.{name}", value, why,
                        f"Write {literals}")  # fmt: skip
            return
