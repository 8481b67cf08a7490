"""Holds a long run to the recipe that a team agreed on, where it is pinned by its hash (004)."""

from collections.abc import Iterator

from surefoot.guard.ruling import final, found, long_because
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "profile_unpinned": (
        "refuse, note",
        "a long run without --pin; refused if guard.strict, or (for good) if the pin is another's",
        "004",
    )
}
SHORTEST = 8  # characters of a hash that name a recipe


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the given hash with the recipe's own."""
    pin, sha, long = situation.pin, situation.sha, long_because(recipe, situation)
    instead = f"Write --pin {sha}"
    if pin is not None:
        if len(pin) < SHORTEST or not sha.startswith(pin):
            why = f"this recipe is {sha[:12]}: a key was changed since it was pinned (004)"
            yield final(found("profile_unpinned", "refuse", "--pin", f'"{pin}"', why, instead))
    elif long:
        strict = recipe.guard.strict
        why = (
            f"a long run ({long}) of a recipe that nobody has pinned; 004's ran another config "
            "than the one that was meant"
        )
        severity = "refuse" if strict else "note"
        yield found("profile_unpinned", severity, "--pin", "not given", why, instead)
